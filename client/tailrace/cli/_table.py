"""Tables: with colours on a terminal, in plain columns for whatever reads a pipe."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a row."""

    text: str
    style: str = ""
    """Of rich; only a terminal sees it."""


def echo_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Write a table to stdout. The first column is never cut: it holds what other commands are given."""
    if sys.stdout.isatty():
        Console(highlight=False).print(_rich_table(titles, rows))
        return
    for line in plain_lines(titles, rows):
        click.echo(line)


def plain_lines(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """Yield the lines of a table without colours, its titles first."""
    lines = [list(titles), *([cell.text for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        yield _GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def escape(text: str) -> str:
    """Return a text that others wrote, so that it cannot move a terminal's cursor or change its colours."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def _rich_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, title in enumerate(titles):
        table.add_column(title, no_wrap=place == 0, overflow="ignore" if place == 0 else "fold")
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return table
