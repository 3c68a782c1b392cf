"""A sweep in words: the lines of its repr, the table of the ranking, rows for a file or a data
frame.
"""

import csv
import functools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optax_lite._numbers import show_number
from optax_lite._optional import optional_import
from optax_lite.inspect._table import Table
from optax_lite.sweep.population import names_in, pluralize, show, show_settings, strip_addresses


def summary(result: Any) -> str:
    """Sum up a sweep in a few lines."""
    (members, seeds), counts = result.scores.shape, Counter(result.status.flat)
    states = ", ".join(
        f"{counts[s]} {s}" for s in ("done", "pruned", "diverged", "stopped") if counts[s]
    )
    chunk = result.chunk if isinstance(result.chunk, tuple) else (result.chunk,)
    programs = pluralize(result.compiles, "program")
    programs += f" and {pluralize(result.probes, 'probe')}" if result.probes else ""
    lines = [
        f"Result: {pluralize(members, 'member')} x {pluralize(seeds, 'seed')}: {states}",
        *_best(result),
        f"{result.seconds:.3g} s, of which {result.compile_seconds:.3g} s compiling {programs}; "
        f"{', '.join(map(str, chunk))} at a time",
    ]
    return "\n  ".join([*lines, *remarks(result)])


def _best(result: Any) -> list[str]:
    first, *others = result.ranking()
    if not np.isfinite(result.compared()[first.member, list(first.seeds)]).any():
        return ["no run has a finite score"]
    settings = show_settings(settings_of(result, first.member, first.seeds[0]))
    seed = (
        f", seed {result.seeds[first.seeds[0]]}"
        if result.hyperparams and len(result.seeds) > 1
        else ""
    )
    lines = [
        f"best: member {first.member}{seed}, {settings}: {result.score_name} {show_score(first)}"
    ]
    near = sum(abs(other.score - first.score) <= first.spread for other in others)
    return lines + ([f"{pluralize(near, 'other member')} within that ±"] if near else [])


def remarks(result: Any) -> list[str]:
    """Return what a reader of the ranking should know."""
    lines = [*result.edges(), *result.notes]
    if result.interrupted:
        lines.insert(
            0, "interrupted; runs are compared at the last evaluation that all of them reached"
        )
    return [f"! {line}" for line in lines]


def table(result: Any, n: int | None = 10) -> Table:
    """Return the first n of the ranking."""
    places, evolves, cells = result.ranking(), bool(result.hyperparams), []
    counts = result.trained != "function"
    settings = [settings_of(result, place.member, place.seeds[0]) for place in places[:n]]
    names = names_in(settings)
    for rank, (place, own) in enumerate(zip(places, settings, strict=False), 1):
        m, seeds = place.member, list(place.seeds)
        shown = [show(own[name]) if name in own else "–" for name in names]
        states = [_states(result.status[m, seeds]), *[_range(result.steps[m, seeds])] * counts]
        which = [str(m), *[str(result.seeds[seeds[0]])] * evolves]
        cells.append([str(rank), *which, *shown, show_score(place), *states])
    header = ["rank", "member", *["seed"] * evolves, *names, result.score_name, "status"]
    header += ["updates"] * counts
    more = len(places) - len(cells)
    notes = [f"and {more} more; table(None) shows all"] if more else []
    return Table(header, cells, notes + remarks(result))


def _states(status: np.ndarray) -> str:
    counts = Counter(status)
    return (
        next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {s}" for s, n in counts.items())
    )


def _range(steps: np.ndarray) -> str:
    low, high = steps.min(), steps.max()
    return str(low) if low == high else f"{low}–{high}"


def show_score(place: Any) -> str:
    """Return a mean, and the standard deviation where it has one, as text."""
    return show_number(place.score, 4) + show_spread(place)


def show_spread(place: Any) -> str:
    """Return the standard deviation to two digits, or nothing where there is none."""
    return f" ± {show_number(place.spread, 2)}" if np.isfinite(place.spread) else ""


def settings_of(result: Any, member: int, seed: int) -> dict[str, Any]:
    """Return the final settings of a run, with the name of its method in front where there are
    several.
    """
    return with_method(result.population, member, result.settings(member, seed))


def with_method(population: Any, member: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a member, with the name of its method in front where there are several."""
    methods = methods_of(population)
    return {"optimizer": methods[member], **settings} if methods else dict(settings)


@functools.lru_cache(8)
def methods_of(population: Any) -> tuple[str, ...]:
    """Name the optimizer of each member; return nothing where all have one name, or an axis says
    it.
    """
    methods = tuple(_method(member) for member in population.members)
    words = [
        tuple(x for x in s.values() if isinstance(x, (str, bool))) for s in population.settings
    ]
    is_told = all(words) and len({*zip(words, methods, strict=True)}) == len({*words})
    return () if len({*methods}) == 1 or is_told else methods


def _method(member: Any) -> str:
    """Name a member's optimizer: 'adamw', 'clip_by_global_norm + sgd'; empty where there is
    none.
    """
    optimizer = member.get("tx") if isinstance(member, Mapping) else member
    text, before = repr(optimizer) if hasattr(optimizer, "hyperparams") else "", ""
    text = text[len("chain(") : -1] if text.startswith("chain(") else text
    while text != before:
        text, before = re.sub(r"\([^()]*\)", "", text), text
    return text.replace(", ", " + ")


def rows(result: Any) -> list[dict[str, Any]]:
    """Return all runs, one dict each."""
    made = []
    for m, s in np.ndindex(result.scores.shape):
        run = {"member": m, "seed": result.seeds[s]}
        numbers = {"score": float(result.scores[m, s]), "status": str(result.status[m, s])}
        if result.trained != "function":
            numbers["steps"] = int(result.steps[m, s])
        settings = {
            f"setting {name}" if name in run | numbers else name: x
            for name, x in settings_of(result, m, s).items()
        }
        made.append(run | settings | numbers)
    return made


def write_csv(result: Any, path: str | Path) -> None:
    """Write one line for each run."""
    lines = rows(result)
    # the numbers behind the settings of all
    names = sorted(names_in(lines), key=lambda name: name in ("score", "status", "steps"))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for line in lines:
            writer.writerow({k: strip_addresses(x) if callable(x) else x for k, x in line.items()})


def frame(result: Any) -> Any:
    """Return a pandas DataFrame of all runs."""
    return optional_import("pandas", "result.to_pandas()").DataFrame(rows(result))
