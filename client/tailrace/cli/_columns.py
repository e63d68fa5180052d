"""Tables that must not be wider than a screen: columns are cut, then left out, the least wanted first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from tailrace.cli._table import Cell

_GAP = 2
_MORE = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    is_number: bool = False
    """Its cells are aligned to the right."""
    least: int | None = None
    """To so many characters its cells may be cut and still tell something. None: not at all."""
    leaves: int | None = None
    """Where there is no room: which column is the first to be left out (the smallest). None: never is."""


def fitted_lines(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> Iterator[Text]:
    """Yield a table's lines, titles first, none wider than ``width``.

    First columns that may be cut are, then columns are left out, then the first one that is left is cut.

    Args:
        columns: In their order.
        rows: A cell for each column.
        width: In characters of a terminal; at least 1.
    """
    shown = _shown(columns, rows, width)
    kept = [columns[index] for index in shown]
    titles = [Cell(column.title, "bold") for column in kept]
    table = [titles, *([row[index] for index in shown] for row in rows)]
    widths = _cut_widths(kept, _natural_widths(table), width)
    for row in table:
        line = Text(no_wrap=True, end="")
        for position, (column, cell, size) in enumerate(zip(kept, row, widths, strict=True)):
            line.append(" " * _GAP if position else "")
            line.append(_fit(cell.text, size, is_number=column.is_number), style=cell.style)
        line.rstrip()
        line.truncate(width)
        yield line


def _shown(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int]:
    natural = _natural_widths([[Cell(column.title) for column in columns], *rows])
    least = [min(size, column.least or size) for column, size in zip(columns, natural, strict=True)]
    shown = list(range(len(columns)))
    leaving = sorted((column.leaves, index) for index, column in enumerate(columns) if column.leaves is not None)
    for _, index in leaving:
        if _total([least[each] for each in shown]) <= width:
            break
        shown.remove(index)
    return shown


def _cut_widths(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    widths = list(natural)
    cuttable = [(index, column.least) for index, column in enumerate(columns) if column.least is not None]
    # What does not fit even then is taken from the first column, whatever it is.
    for index, least in [*reversed(cuttable), (0, 1)]:
        excess = max(0, _total(widths) - width)
        widths[index] = max(min(widths[index], least), widths[index] - excess)
    return widths


def _natural_widths(table: Sequence[Sequence[Cell]]) -> list[int]:
    return [max(cell_len(cell.text) for cell in column) for column in zip(*table, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _fit(text: str, size: int, *, is_number: bool) -> str:
    if cell_len(text) > size:
        return set_cell_size(text, size - 1) + _MORE
    return " " * (size - cell_len(text)) + text if is_number else set_cell_size(text, size)
