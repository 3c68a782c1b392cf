"""The table of an optimizer's leaves as data, as text for a terminal and as HTML for a notebook."""

import dataclasses
import functools
import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite._numbers import show_number
from optax_lite.core.schedule import Schedule
from optax_lite.inspect.current import values_of

_WIDTH = 120


class LeafRow(NamedTuple):
    """A parameter, what an optimizer keeps for it, and the settings that move it."""

    path: str  # of the parameter
    shape: tuple[int, ...]  # of the parameter
    dtype: np.dtype  # of the parameter
    group: str  # its label in a partition, nested ones joined by a slash; empty without one
    # those in effect, by their path in `tx.hyperparams`; a schedule as such
    hyperparams: dict[str, Any]
    slots: dict[str, tuple[jax.ShapeDtypeStruct, ...]]  # by the field of the state
    is_moved: bool  # False if its updates are set to zero, or it is an integer
    nbytes: int  # of the parameter and its slots


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells and notes that print in a terminal and in a notebook."""

    header: Sequence[str]
    cells: Sequence[Sequence[str]]  # the last column is flush right
    notes: Sequence[str]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.cells, strict=True)]

        def line(cells):
            *left, last = cells
            padded = [cell.ljust(w) for cell, w in zip(left, widths, strict=False)]
            return "  ".join([*padded, last.rjust(widths[-1])])

        rule = "  ".join("─" * w for w in widths)
        return "\n".join([line(self.header), rule, *map(line, self.cells), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(cells, tag):
            sides = [*["left"] * (len(cells) - 1), "right"]
            shown = zip(sides, map(html.escape, cells), strict=True)
            row = "".join(
                f"<{tag} style='text-align:{side}'>{cell}</{tag}>" for side, cell in shown
            )
            return f"<tr>{row}</tr>"

        rows = [line(self.header, "th"), *(line(row, "td") for row in self.cells)]
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table>{''.join(rows)}</table>{notes}"


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The result of `explain`: print it, or take `rows`, `totals` and `warnings` as data.

    When printed, leaves that differ only in a number in their paths share a line.
    """

    rows: list[LeafRow]  # one for each leaf
    # parameters, moved, parameter_bytes, state_bytes by slot, bytes, bytes_per_parameter, and
    # members, the size of a population, of one of which the other numbers are
    totals: dict[str, Any]
    warnings: list[str]  # guesses at mistakes, and rules without effect

    def __str__(self) -> str:
        cells, alike = _narrow(*self._cells())
        notes = [*self._summary(), *alike, *(f"! {warning}" for warning in self.warnings)]
        wrapped = (
            textwrap.fill(note, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            for note in notes
        )
        return str(Table(*cells, ["", *wrapped]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = [*self._summary(), *(f"⚠ {warning}" for warning in self.warnings)]
        return Table(*self._cells(), notes)._repr_html_()

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        groups, (names, _, _) = any(row.group for row in self.rows), _placed(self.rows)
        header = ["parameter", "shape", "dtype", *["group"] * groups, *names, "state", "bytes"]
        lines: dict[tuple, list[LeafRow]] = {}
        for row in self.rows:
            own = _short(row) if row.is_moved else {}
            cells = (
                "×".join(map(str, row.shape)) or "scalar",
                str(row.dtype),
                *[row.group] * groups,
                *(_show(own[name]) if name in own else "–" for name in names),
                _state(row),
            )
            lines.setdefault((_numberless(row.path), *cells), []).append(row)
        return header, [
            [
                *collapse_numbered(row.path for row in rows),
                *cells,
                show_bytes(sum(row.nbytes for row in rows)),
            ]
            for (_, *cells), rows in lines.items()
        ]

    def _summary(self) -> list[str]:
        t = self.totals
        state = [f"{slot} {show_bytes(n)}" for slot, n in t["state_bytes"].items()]
        per = f", {t['bytes_per_parameter']:.3g} bytes per parameter" if t["parameters"] else ""
        own = f"{t['parameters']:,} parameters, {show_bytes(t['parameter_bytes'])}"
        lines = [f"{own}; state {', '.join(state) or 'none'}; total {show_bytes(t['bytes'])}{per}"]
        if t["members"] > 1:
            lines[0] += f"; for each of the {t['members']} members of the population"
        if still := [row.path for row in self.rows if not row.is_moved]:
            lines.append(f"{t['moved']:,} of them are trained; not trained: {abbreviate(still)}")
        _, *alike = _placed(self.rows)
        for where, settings in zip(("everywhere", "where they apply"), alike, strict=True):
            shown = ", ".join(f"{name} {_show(value)}" for name, value in settings.items())
            lines += [f"{where}: {shown}"] if shown else []
        return lines


def show_bytes(n: float) -> str:
    """Return a number of bytes in its unit of a thousand."""
    power = 0
    while n >= 999.5 and power < 6:
        n, power = n / 1000, power + 1
    return f"{n:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[power]}"


def collapse_numbered(paths: Iterable[str]) -> list[str]:
    """Join the paths that differ in a number: 'layer_*/bias ×4'."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_numberless(path), []).append(path)
    return [
        f"{name} ×{len(group)}" if len(group) > 1 else group[0] for name, group in groups.items()
    ]


def abbreviate(paths: Iterable[str]) -> str:
    """Name the first of the paths."""
    names = collapse_numbered(paths)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _numberless(path: str) -> str:
    return re.sub(r"\d+", "*", path)


def value_range(value: Any) -> tuple[float, float]:
    """Return the least and the largest value of a number, of those of a population, or of a
    schedule along its way.
    """
    values = _along(value) if isinstance(value, Schedule) else value
    return float(np.min(values)), float(np.max(values))


@functools.lru_cache(16)
def _along(schedule: Schedule) -> np.ndarray:
    # warm-up steps and the like
    turns = [x for x in jax.tree.leaves(schedule) if np.ndim(x) == 0 and 0 <= x < 2**30]
    counts = np.unique(np.concatenate([np.geomspace(1, 2**30, 600) - 1, turns]).astype(np.int32))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        at = jax.vmap(lambda count: values_of({"": schedule}, {"": count}))
        return np.asarray(at(jnp.asarray(counts))[""])


# --- settings -------------------------------------------------------------------------------------


def _short(row: LeafRow) -> dict[str, Any]:
    """Shorten the paths of settings to as much of the end as tells them apart."""
    return dict(zip(_ends(tuple(row.hyperparams)), row.hyperparams.values(), strict=True))


@functools.lru_cache(16)  # most rows have the same
def _ends(paths: tuple[str, ...]) -> list[str]:
    found = []
    for path in paths:
        parts = path.split("/")
        ends = ("/".join(parts[i:]) for i in reversed(range(len(parts))))
        others = [other for other in paths if other != path]
        found.append(
            next((e for e in ends if not any(f"/{o}".endswith(f"/{e}") for o in others)), path)
        )
    return found


def _placed(rows: list[LeafRow]) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Return the settings that need a column, because values differ or only some leaves have a rate
    or decay; those alike in all leaves that move; and those alike where they apply.
    """
    moved = [_short(row) for row in rows if row.is_moved]
    columns: list[str] = []
    everywhere: dict[str, Any] = {}
    in_places: dict[str, Any] = {}
    for name in dict.fromkeys(name for settings in moved for name in settings):
        values = [settings[name] for settings in moved if name in settings]
        is_rare = len(values) < len(moved)
        is_telling = is_rare and name.endswith(("learning_rate", "weight_decay"))
        if is_telling or any(_differ(value, values[0]) for value in values):
            columns.append(name)
        else:
            (in_places if is_rare else everywhere)[name] = values[0]
    return columns, everywhere, in_places


def _differ(x: Any, y: Any) -> bool:
    return x is not y and bool(np.ndim(x) or np.ndim(y) or x != y)


def _show(value: Any) -> str:
    low, high = (show_number(x, 4) for x in value_range(value))
    return low if low == high else f"{low}…{high}"


# --- cells ----------------------------------------------------------------------------------------


def _state(row: LeafRow) -> str:
    if not row.slots:
        return "–" if row.is_moved else "not moved"
    by_dtype: dict[str, list[str]] = {}
    for slot, arrays in row.slots.items():
        by_dtype.setdefault(", ".join(dict.fromkeys(str(x.dtype) for x in arrays)), []).append(slot)
    words = "; ".join(f"{' '.join(slots)} {dtype}" for dtype, slots in by_dtype.items())
    return words if row.is_moved else f"{words}; not trained"


# how far a column gives way where a line would be too long
_LEAST = {"parameter": 24, "group": 16, "state": 24}


def _narrow(
    header: list[str], rows: list[list[str]]
) -> tuple[tuple[list[str], list[list[str]]], list[str]]:
    """Make lines that fit: note what is alike in all rows, and shorten long words."""
    columns, notes = {name: [row[i] for row in rows] for i, name in enumerate(header)}, []

    def excess():
        widths = [max(map(len, [name, *cells])) for name, cells in columns.items()]
        return sum(widths) + 2 * (len(widths) - 1) - _WIDTH

    for name in ("dtype", "state"):
        if excess() > 0 and len(set(columns[name])) == 1:
            notes.append(f"{name} of all leaves: {columns.pop(name)[0]}")
    for name, least in _LEAST.items():
        if name in columns and (more := excess()) > 0:
            width = max(least, max(map(len, columns[name]), default=0) - more)
            columns[name] = [shorten(cell, width) for cell in columns[name]]
    return (list(columns), list(map(list, zip(*columns.values(), strict=True)))), notes


def shorten(cell: str, width: int) -> str:
    """Cut the middle out of a cell; more of the end stays, where paths differ."""
    start = (width - 1) // 3
    return (
        cell if len(cell) <= width else f"{cell[:start]}…{cell[len(cell) - (width - 1 - start) :]}"
    )
