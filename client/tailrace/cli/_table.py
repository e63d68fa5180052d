"""Tables: with colours on a terminal, in plain columns for whatever reads a pipe."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP = "  "
_LEAST_CUT = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a row."""

    text: str
    style: str = ""
    """Of rich; only a terminal sees it."""


def echo_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, cut: Collection[str] = ()) -> None:
    """Write a table to stdout, a line to a row.

    Args:
        titles: Of the columns.
        rows: A cell for each column.
        cut: Titles of columns that are cut short where a terminal is too narrow for all. The others never are: they
            hold what other commands are given. A terminal that is still too narrow breaks the lines itself.
    """
    if sys.stdout.isatty():
        width = max(Console().width, _least_width(titles, rows, cut))
        Console(highlight=False, width=width).print(_rich_table(titles, rows, cut))
        return
    for line in plain_lines(titles, rows):
        click.echo(line)


def plain_lines(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """Yield the lines of a table without colours, its titles first."""
    lines = [list(titles), *_texts(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        yield _GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def escape(text: str) -> str:
    """Return a text that others wrote, so that it cannot move a terminal's cursor or change its colours."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def _rich_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], cut: Collection[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    for title in titles:
        # Rich takes room from columns that may wrap, and from no others as long as there is any to take. Their texts
        # must not wrap all the same: a row is a line.
        table.add_column(title, no_wrap=title not in cut, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell.text, style=cell.style, no_wrap=True) for cell in row))
    return table


def _least_width(titles: Sequence[str], rows: Sequence[Sequence[Cell]], cut: Collection[str]) -> int:
    widths = [max(cell_len(text) for text in column) for column in zip(titles, *_texts(rows), strict=True)]
    least = [min(width, _LEAST_CUT) if title in cut else width for title, width in zip(titles, widths, strict=True)]
    return sum(least) + len(titles) - 1


def _texts(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in rows]
