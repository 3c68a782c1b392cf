"""What is proven of every method, in one table: `python -m benchmarks.catalogue [--only NAME]
[--no-mutants]`.

Per factory: its lines of code (with what it uses of its own file), settings tested, the worst error
against the numpy reference in float64 and float32, mutants killed and proven equivalent of those
made, and of its numeric hyperparameters those that pass `vmap` and have a finite gradient, at zero
gradients too. It ends with 1 if a bar is missed.
"""

import argparse
import ast
import json
import multiprocessing
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods import ROWS, Row
from tests.methods.compare import starts_of, worst_error
from tests.mutate import is_proven, killers, source, users
from tools.size import count


def lines_of_code(factory: Any) -> int:
    """The lines of a factory and of what it uses, directly or not, of its own file."""
    text = source(factory.__module__)
    named = {getattr(s, "name", ""): s for s in ast.parse(text).body}
    mine = [
        s
        for name, s in named.items()
        if name and factory.__name__ in users(factory.__module__, name)
    ]
    pieces = [
        text.splitlines()[min([s.lineno, *(d.lineno for d in s.decorator_list)]) - 1 : s.end_lineno]
        for s in mine
    ]
    return sum(count("\n".join(piece))["code"] for piece in pieces)


def errors(row: Row) -> tuple[float, float]:
    """The worst errors in float64 and float32 over the settings, from a fresh and from a used
    state.
    """
    starts = starts_of(row)
    with jax.enable_x64(True):
        double = max(worst_error(row, x, jnp.float64, starts=starts) for x in row.settings)
    return double, max(worst_error(row, x, jnp.float32, starts=starts) for x in row.settings)


PARAMS = {
    "w": np.array([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]], np.float32),
    "b": np.float32([0.3, -0.1]),
    "s": np.float32(2),
}


def gradients(seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(rng.normal(size=np.shape(p)), jnp.float32) for k, p in PARAMS.items()}


def two_steps(tx: ol.GradientTransformation, extra: dict[str, Any], *, zero: bool) -> Any:
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = tx.init(params)
    for i in range(2):
        g = jax.tree.map(jnp.zeros_like, params) if zero else gradients(i)
        updates, state = tx.update(g, state, params, **extra)
        params = ol.apply_updates(params, updates)
    return params


def pairs(row: Row) -> dict[str, tuple[bool, bool]]:
    """Of each numeric hyperparameter: whether vmap over it equals a loop, and whether its gradient
    is finite.
    """
    settings: dict[str, Any] = {}
    for given in row.settings:  # every number that any setting gives stands in one of them at least
        if any(isinstance(value, ol.Schedule) for value in given.values()):
            continue  # the numbers of a schedule are no hyperparameters of the method
        tx = row.factory(**given)
        settings |= {path: tx for path in tx.hyperparams if path not in settings}
    return {
        path: (_vmaps(row, tx, path), _has_gradient(row, tx, path)) for path, tx in settings.items()
    }


def _vmaps(row: Row, tx: ol.GradientTransformation, path: str) -> bool:
    value = tx.hyperparams[path]
    members = [value, 0.9 * value + 0.01]

    def run(x):
        return two_steps(_with(tx, path, x), row.quirks.extra(0), zero=False)

    together = jax.vmap(run)(jnp.array(members))
    apart = [run(jnp.float32(x)) for x in members]
    pairs = zip(jax.tree.leaves(together), *map(jax.tree.leaves, apart), strict=True)
    return all(np.allclose(many, jnp.stack(two), rtol=1e-5, atol=1e-6) for many, *two in pairs)


def _has_gradient(row: Row, tx: ol.GradientTransformation, path: str) -> bool:
    def loss(x, zero):
        after = two_steps(_with(tx, path, x), row.quirks.extra(0), zero=zero)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(after))

    x = jnp.float32(tx.hyperparams[path])
    return all(bool(jnp.isfinite(jax.grad(loss)(x, zero))) for zero in (False, True))


def _with(tx: ol.GradientTransformation, path: str, x: jax.Array) -> ol.GradientTransformation:
    """The transformation with one number traced; `replace` would check it, which a tracer
    passes.
    """
    return tx.replace({path: x})


def measure(name: str) -> tuple[str, tuple[float, float] | None, dict[str, tuple[bool, bool]]]:
    row = next(row for row in ROWS if row.name == name)
    with jax.disable_jit():
        return (
            name,
            errors(row) if row.reference else None,
            {} if row.quirks.no_laws else pairs(row),
        )


def measured_rows(names: list[str], jobs: int, file: Path | None) -> dict[str, list]:
    """What `measure` gives for each row; with a file, kept there as it comes, and not measured
    again if it is there.
    """
    known = dict(map(json.loads, file.read_text().splitlines())) if file and file.exists() else {}
    left = [name for name in names if name not in known]
    with (
        multiprocessing.get_context("spawn").Pool(jobs) as pool,
        open(file or os.devnull, "a") as out,
    ):
        for done, (name, *found) in enumerate(pool.imap_unordered(measure, left), 1):
            known[name] = found
            out.write(json.dumps([name, found]) + "\n")
            out.flush()
            print(
                f"{done} of {len(left)} rows measured, {name} the last", file=sys.stderr, flush=True
            )
    return known


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="a part of the names of the rows")
    parser.add_argument("--no-mutants", action="store_true")
    parser.add_argument(
        "--file", type=Path, help="where tests.mutate keeps results, so that they are not run again"
    )
    parser.add_argument(
        "--measured", type=Path, help="where what is measured of a row is kept, of the same tree"
    )
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    rows = [row for row in ROWS if args.only is None or args.only in row.name]
    chosen = {row.factory.__name__ for row in rows}
    measured = measured_rows([row.name for row in rows], args.jobs, args.measured)
    killed = {}
    if not args.no_mutants:
        killed = killers(lambda m: args.only is None or m.function in chosen, args.jobs, args.file)
    by_rule: dict[tuple[str, str], list] = defaultdict(list)
    for mutant, killer in killed.items():
        by_rule[mutant.module, mutant.function].append((mutant, killer))

    print(
        "| method | lines | settings | float64 | float32 | killed + equivalent / made | vmap | "
        "gradient |"
    )
    print("|---|---|---|---|---|---|---|---|")
    missed, totals = [], [0] * 6
    for row in rows:
        worst, passed = measured[row.name]
        mutants = by_rule.get((row.factory.__module__, row.factory.__name__), [])
        dead, equal = (
            sum(bool(k) for _, k in mutants),
            sum(not k and is_proven(m) for m, k in mutants),
        )
        vmapped, finite = (sum(p[i] for p in passed.values()) for i in (0, 1))
        shown = (
            ["own tests"] * 2
            if worst is None
            else [
                f"{x:.1e}" + (f" (bound {b:.0e})" if b != usual else "")
                for x, b, usual in zip(
                    worst, (row.quirks.float64, row.quirks.float32), (1e-12, 2e-6), strict=True
                )
            ]
        )
        print(
            f"| {row.name} | {lines_of_code(row.factory)} | {len(row.settings)} | {shown[0]} | "
            f"{shown[1]} | {dead} + {equal} / {len(mutants)} | {vmapped} / {len(passed)} | "
            f"{finite} / {len(passed)} |"
        )
        sums = (dead, equal, len(mutants), vmapped, finite, len(passed))
        totals = [a + b for a, b in zip(totals, sums, strict=True)]
        within = worst is None or (
            worst[0] <= row.quirks.float64 and worst[1] <= row.quirks.float32
        )
        if not within or dead + equal < len(mutants) or vmapped + finite < 2 * len(passed):
            missed.append(f"{row.name}: {[path for path, both in passed.items() if not all(both)]}")
    dead, equal, made, vmapped, finite, number = totals
    print(
        f"\n{len(rows)} rows; {made} mutants of their factories, {dead} killed, {equal} "
        f"equivalent; {number} pairs of factory and hyperparameter: {vmapped} pass vmap, {finite} "
        "have a finite gradient"
    )
    print("\n".join(["missed:", *missed] if missed else ["every bar is met"]))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
