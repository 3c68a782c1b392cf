"""Run a rule beside its numpy reference, step by step, and compare updates and states."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

SHAPES = {"w": (3, 4), "wide": (2, 1, 5), "b": (3,), "scalar": ()}


def random_trees(
    seed: int, steps: int, *, complex_: bool, shapes: Any = None
) -> tuple[dict, list[dict]]:
    """Parameters, and gradients of very different sizes: one leaf near 1e-6, one with exact
    zeros.
    """
    rng = np.random.default_rng(seed)

    def normal(shape, is_complex):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if is_complex else 0)

    params = {name: normal(shape, False) for name, shape in (shapes or SHAPES).items()}
    sizes = dict.fromkeys(params, 1.0) | {"wide": 1e-6, "b": 30.0, "scalar": 0.1}
    if complex_:
        params["z"], sizes["z"] = normal((2, 2), True), 1.0
    gradients = [
        {k: sizes[k] * normal(np.shape(p), np.iscomplexobj(p)) for k, p in params.items()}
        for _ in range(steps)
    ]
    for g in gradients:
        g["w"][0, 0] = 0.0
        g["scalar"] = np.abs(g["scalar"]) + 0.1  # one entry that crosses 0 has no relative error
    return params, gradients


def slots(state: Any) -> dict[str, list]:
    """The fields of a state, of all the states nested in it: name to values (a tree or a number
    each).
    """
    found: dict[str, list] = {}

    def walk(node):
        for name, value in zip(getattr(node, "_fields", range(len(node))), node, strict=True):
            if isinstance(value, tuple):
                walk(value)
            elif (
                isinstance(value, dict)
                and value
                and all(isinstance(v, ol.MaskedState) for v in value.values())
            ):
                walk(tuple(value.values()))  # the groups of a partition
            else:
                found.setdefault(name, []).append(value)

    walk(state if isinstance(state, tuple) else (state,))
    return found


def started(state: Any, seed: int) -> Any:
    """The same state as if training had gone on for a while: positive random slots, count 7, no
    first step.
    """
    rng = np.random.default_rng(seed)

    def one(x):
        if x.dtype == bool:
            return np.zeros(x.shape, x.dtype)
        if jnp.issubdtype(x.dtype, jnp.integer):
            # uint32: a random key
            return x if x.dtype == jnp.uint32 else np.full(x.shape, 7, x.dtype)
        return np.asarray(0.5 + rng.random(x.shape), x.dtype)

    return jax.tree.map(one, state)


def seen_by_run(value: Any, count: int) -> Any:
    """A hyperparameter as the run sees it: a schedule at its count, a number rounded to the default
    float dtype.
    """
    if isinstance(value, ol.Schedule):
        return float(value(count))
    if isinstance(value, tuple):
        return tuple(seen_by_run(part, count) for part in value)
    return float(np.asarray(value, jnp.result_type(float))) if isinstance(value, float) else value


def relative_error(ours: Any, reference: Any) -> float:
    """The largest difference as a share of the reference's largest entry; of a leaf of several
    arrays, the worst.
    """
    if isinstance(reference, dict):
        reference = list(reference.values())
    if isinstance(reference, (list, tuple)):
        pairs = zip(ours, reference, strict=True)
        return max((relative_error(a, b) for a, b in pairs if b is not None), default=0.0)
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert ours.shape == reference.shape, (ours.shape, reference.shape)
    assert np.iscomplexobj(ours) == np.iscomplexobj(reference), (ours.dtype, reference.dtype)
    if reference.ndim == 0 and ours == reference:
        return 0.0  # an infinity too
    if reference.dtype == bool:
        return float(np.any(ours != reference))
    assert np.all(np.isfinite(ours)), ours  # max() passes over a NaN
    scale = np.max(np.abs(reference), initial=0.0)
    return float(np.max(np.abs(ours - reference), initial=0.0) / (scale or 1.0))


def starts_of(row) -> tuple[bool, ...]:
    """Whether runs start from a used state: from both where a rule can."""
    return (False,) if row.quirks.fresh_only else (False, True)


def compared(
    row, settings, dtype, *, starts: tuple[bool, ...], steps: int, seed: int = 0
) -> Iterator[tuple[str, Any, Any]]:
    """Run a rule beside its reference, and yield what to compare: a name, our value and the
    reference's.

    `dtype` is that of the leaves. The reference runs in float64 on what the run is given:
    gradients, parameters and hyperparameters as rounded. Of each start that is True the state is
    one that training might have reached after 7 updates.
    """
    quirks = row.quirks
    params, gradients = quirks.data(
        random_trees(seed, steps, complex_=quirks.complex_, shapes=quirks.shapes)
    )
    complex_dtype = np.result_type(dtype, np.complex64)

    def given(tree):
        return {
            k: np.asarray(v, complex_dtype if np.iscomplexobj(v) else dtype)
            for k, v in tree.items()
        }

    def exact(tree):
        return {
            k: np.asarray(v, np.complex128 if np.iscomplexobj(v) else np.float64)
            for k, v in given(tree).items()
        }

    tx, w = row.factory(**settings), exact(params)
    arguments = {k: p.default for k, p in row.parameters.items()} | settings
    hyperparameters = {k: v for k, v in arguments.items() if k not in quirks.unlike}
    fresh = tx.init(given(params))
    for start in starts:
        state, memory, begun, when = fresh, None, 0, ""
        if start:
            state = (quirks.used or started)(fresh, seed)
            memory, begun, when = _as_reference(state, w, row), 7, " of a used state"
        for step, gradient in enumerate(gradients):
            count, after = step + begun, f"after update {step + 1}{when}"
            extra = quirks.extra(step)
            updates, state = tx.update(given(gradient), state, given(params), **extra)
            given_now = {
                k: v if k in tx.choices else seen_by_run(v, count)
                for k, v in hyperparameters.items()
            }
            now = quirks.translate(given_now) | extra
            reference, memory = _reference_step(row, exact(gradient), memory, w, now)
            for k in w:
                yield f"update {step + 1}{when}, leaf {k!r},", updates[k], reference[k]
            for found in slots(state).get("count", []) if quirks.counts_updates else []:
                yield f"a count {after}", found, count + 1
            for name, ours, theirs in _state_pairs(_as_reference(state, w, row), memory, row):
                yield f"{name} {after}", ours, theirs


def steps_of(row) -> int:
    """How many updates are compared: of a rule two, as five kill no more mutants; five of what
    waits for its turn.
    """
    is_around = row.factory.__module__.split(".")[1] in ("wrappers", "inspect")
    return 5 if is_around else 2


def worst_error(row, settings, dtype, *, starts: tuple[bool, ...], steps: int = 5) -> float:
    """The largest relative error of updates and states over some steps, leaves and slots."""
    pairs = compared(row, settings, dtype, starts=starts, steps=steps)
    return max((relative_error(ours, reference) for _, ours, reference in pairs), default=0.0)


def assert_agrees(row, settings, dtype, *, steps: int) -> None:
    """Fail with the row, the setting and the entry where a rule is not its reference, from the
    start or from a used state.
    """
    bound = row.quirks.float64 if dtype == jnp.float64 else row.quirks.float32
    where = f"{row.name}, setting {row.settings.index(settings)} {settings}"
    pairs = compared(row, settings, dtype, starts=starts_of(row), steps=steps)
    for name, ours, reference in pairs:
        error = relative_error(ours, reference)
        if not error <= bound:
            raise AssertionError(
                f"{where}: {name} is off by {error:.2g} of its largest "
                f"entry{_entry(ours, reference)}"
            )


def _entry(ours: Any, reference: Any) -> str:
    """The entry of two arrays that differs most, and both values."""
    if isinstance(reference, (dict, list, tuple)):
        return ""
    ours, reference = np.asarray(ours), np.asarray(reference)
    index = np.unravel_index(np.argmax(np.abs(ours - reference)), reference.shape)
    return f": entry {list(map(int, index))} is {ours[index]}, the reference has {reference[index]}"


def _reference_step(row, gradient, memory, w, now):
    """The updates by leaf, and the state: field to a dict by leaf, or to what all leaves share."""
    if row.quirks.whole_tree:
        s = memory and {
            f: [v[k] for k in w] if isinstance(v, dict) else v for f, v in memory.items()
        }
        updates, s = row.reference(
            list(gradient.values()), _nested(s, now), list(w.values()), **now
        )
        flat = _flat(s).items()
        shared = {f: dict(zip(w, v, strict=True)) if isinstance(v, list) else v for f, v in flat}
        return dict(zip(w, updates, strict=True)), shared
    updates, new = {}, {}
    for k in w:
        s = memory and {f: v.get(k) if isinstance(v, dict) else v for f, v in memory.items()}
        updates[k], s = row.reference(gradient[k], _nested(s, now), w[k], **now)
        for f, v in _flat(s).items():
            new.setdefault(f, {})[k] = v
    return updates, new


def _nested(s, now):
    """The same fields for the reference that another one takes as `base`, where it looks
    for them.
    """
    return s if s is None or "base" not in now else s | {"base": s}


def _flat(s):
    """A reference's state without nesting: the base optimizer's fields beside its own."""
    return {k: v for k, v in s.items() if k != "base"} | _flat(s.get("base") or {}) if s else {}


def _as_reference(state, w, row):
    """Our state as a reference keeps it."""

    def exact(x):
        if isinstance(x, (list, tuple)):
            return [exact(y) for y in x]
        if x is None:
            return None
        number = x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer)
        wide = np.asarray(x) if number else np.asarray(x, np.result_type(x.dtype, np.float64))
        return wide.item() if wide.ndim == 0 else wide

    def by_leaf(field, trees):
        """Of the groups of a partition, each leaf's own."""
        found = {
            k: [tree[k] for tree in trees if not isinstance(tree[k], ol.MaskedNode)] for k in w
        }
        return {k: exact(row.quirks.as_kept(field, x[0], w[k])) for k, x in found.items() if x}

    fields = {f: v for f, v in slots(state).items() if f not in row.quirks.unseen}
    return {f: by_leaf(f, v) if isinstance(v[0], dict) else exact(v[0]) for f, v in fields.items()}


def _state_pairs(ours, reference, row) -> Iterator[tuple[str, Any, Any]]:
    kept = set(ours) - ({"count"} - set(reference))  # a count may be there for a schedule alone
    assert kept == set(reference), (
        f"the state has {sorted(ours)}, the reference's {sorted(reference)}"
    )
    for f in sorted(kept):
        values, theirs = ours[f], reference[f]
        if isinstance(values, dict):
            seen = row.quirks.determined
            yield from (
                (f"state field {f!r} of leaf {k!r}", seen(f, values[k]), seen(f, theirs[k]))
                for k in values
            )
        else:  # a number that all leaves share, which a reference of one leaf has once for each
            alike = theirs.values() if isinstance(theirs, dict) else [theirs]
            yield from ((f"state field {f!r}", values, x) for x in alike)


def changes_at(tx, g, slot, expected, **extra):
    """Whether the updates of these numbers, from 0, and none of their neighbours', change a slot of
    the state.
    """
    state = tx.init(g)
    for count in sorted({n + d for n in expected for d in (-1, 0, 1) if n + d >= 0}):
        now = jax.tree.map(
            lambda x, count=count: jnp.int32(count) if x.dtype == jnp.int32 else x, state
        )
        _, new = tx.update(g, now, g, **extra)
        if bool(jnp.any(slot(new) != slot(now))) != (count in expected):
            return False
    return True


def part_with(state, field):
    """The first of a chain's states, or of the states in them, that has a field."""
    parts = state if isinstance(state, tuple) and not hasattr(state, "_fields") else (state,)
    return next(part for part in parts if hasattr(part, field))
