"""A sweep in words: the lines of its repr, the table of the ranking, rows for a file or a data frame."""

import csv
import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optax_lite.inspection.table import html_table, text_table
from optax_lite.loop.extras import extra


@dataclass(frozen=True)
class Table:
    """Cells and notes that print in a terminal and in a notebook."""

    header: list[str]
    cells: list[list[str]]
    notes: list[str]

    def __str__(self) -> str:
        return "\n".join([text_table(self.header, self.cells), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self.header, self.cells) + "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)


def summary(result: Any) -> str:
    """What came of a sweep in a few lines."""
    (members, seeds), counts = result.scores.shape, Counter(result.status.flat)
    states = ", ".join(f"{counts[s]} {s}" for s in ("done", "pruned", "diverged", "stopped") if counts[s])
    lines = [f"{_count(members, 'member')} x {_count(seeds, 'seed')}: {states}", *_best(result)]
    chunk = result.chunk if isinstance(result.chunk, tuple) else (result.chunk,)
    compiling = f"{result.compile_seconds:.3g} s of them to compile {_count(result.compiles, 'program')}"
    probes = f" and {_count(result.probes, 'probe')}" if result.probes else ""
    lines.append(f"{result.seconds:.3g} s, {compiling}{probes}; {', '.join(map(str, chunk))} at a time")
    return "\n  ".join([f"Result: {lines[0]}", *lines[1:], *warnings(result)])


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _best(result: Any) -> list[str]:
    first, *others = result.ranking()
    if not np.isfinite(result.compared()[first.member, list(first.seeds)]).any():
        return ["no run has a finite score"]
    settings = ", ".join(f"{name}={show(x)}" for name, x in shown_settings(result)[first.member].items())
    seed = f", seed {result.seeds[first.seeds[0]]}" if result.hyperparams and len(result.seeds) > 1 else ""
    lines = [f"best: member {first.member}{seed}, {settings}: {result.score_name} {show_score(first)}"]
    near = sum(abs(other.score - first.score) <= first.spread for other in others)
    return lines + ([f"{_count(near, 'other member')} within that ±"] if near else [])


def warnings(result: Any) -> list[str]:
    """What a reader of the ranking should know."""
    lines = [*result.edges(), *result.notes]
    if result.interrupted:
        lines.insert(0, "interrupted; runs are compared at the last evaluation that all of them reached")
    return [f"! {line}" for line in lines]


def table(result: Any, n: int | None = 10) -> Table:
    """The first n of the ranking."""
    places, settings = result.ranking(), shown_settings(result)
    names = list(dict.fromkeys(name for s in settings for name in s))
    header = [
        "rank",
        "member",
        *["seed"] * bool(result.hyperparams),
        *names,
        *(f"{k} at the end" for k in result.hyperparams),
    ]
    cells = []
    for rank, place in enumerate(places[:n], 1):
        m, seeds = place.member, list(place.seeds)
        own = [str(result.seeds[seeds[0]])] * bool(result.hyperparams)
        ended = [show(x) for x in result.ended(m, seeds[0]).values()]
        cells.append(
            [str(rank), str(m), *own, *(show(settings[m][k]) if k in settings[m] else "–" for k in names), *ended]
            + [show_score(place), _states(result.status[m, seeds]), _range(result.steps[m, seeds])]
        )
    more = len(places) - len(cells)
    notes = [f"and {more} more: table(None)"] if more else []
    return Table([*header, result.score_name, "status", "updates"], cells, notes + warnings(result))


def _states(status: np.ndarray) -> str:
    counts = Counter(status)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {s}" for s, n in counts.items())


def _range(steps: np.ndarray) -> str:
    low, high = steps.min(), steps.max()
    return str(low) if low == high else f"{low}–{high}"


def show(value: Any) -> str:
    """A value of a setting as text."""
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else f"{value}"


def show_score(place: Any) -> str:
    """A mean, and the standard deviation where it has one."""
    return f"{place.score:.4g}" + (f" ± {place.spread:.2g}" if np.isfinite(place.spread) else "")


def shown_settings(result: Any) -> list[dict[str, Any]]:
    """The settings of each member; where members are of several methods, these in front."""
    settings, methods = result.population.settings, [_method(member) for member in result.population.members]
    if len(set(methods)) == 1 or any("optimizer" in s for s in settings):
        return [dict(s) for s in settings]
    told = {s[name] for s in settings for name in s if isinstance(s[name], str)}
    if set(methods) <= told:  # an axis names them
        return [dict(s) for s in settings]
    return [{"optimizer": method, **s} for method, s in zip(methods, settings, strict=True)]


def _method(member: Any) -> str:
    """What a member's optimizer is called: 'adamw', 'clip_by_global_norm + sgd'."""
    text, before = repr(member.get("tx", member) if isinstance(member, Mapping) else member), ""
    text = text[len("chain(") : -1] if text.startswith("chain(") else text
    while text != before:
        text, before = re.sub(r"\([^()]*\)", "", text), text
    return text.replace(", ", " + ")


def rows(result: Any) -> list[dict[str, Any]]:
    """All runs, one dict each."""
    made = []
    for m, settings in enumerate(shown_settings(result)):
        for s, seed in enumerate(result.seeds):
            own = {"member": m, "seed": seed}
            numbers = {
                "score": float(result.scores[m, s]),
                "status": str(result.status[m, s]),
                "steps": int(result.steps[m, s]),
            }
            own |= {f"setting {k}" if k in own or k in numbers else k: x for k, x in settings.items()}
            own |= {f"{name} at the end": x for name, x in result.ended(m, s).items()}
            made.append(own | numbers)
    return made


def write_csv(result: Any, path: str | Path) -> None:
    """One line for each run."""
    lines = rows(result)
    names = dict.fromkeys(name for line in lines for name in line)
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(lines)


def frame(result: Any) -> Any:
    """A pandas DataFrame of all runs."""
    return extra("pandas", "result.to_pandas()").DataFrame(rows(result))
