"""Running a rule beside its numpy reference, step by step, states included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

SHAPES = {"w": (3, 4), "wide": (2, 1, 5), "b": (3,), "scalar": ()}


def random_trees(seed: int, steps: int, *, complex_: bool) -> tuple[dict, list[dict]]:
    """Parameters, and gradients of very different sizes: one leaf near 1e-6, one with exact zeros."""
    rng = np.random.default_rng(seed)

    def normal(shape, is_complex):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if is_complex else 0)

    params = {name: normal(shape, False) for name, shape in SHAPES.items()}
    sizes = {"w": 1.0, "wide": 1e-6, "b": 30.0, "scalar": 0.1}
    if complex_:
        params["z"], sizes["z"] = normal((2, 2), True), 1.0
    gradients = [
        {k: sizes[k] * normal(np.shape(p), np.iscomplexobj(p)) for k, p in params.items()} for _ in range(steps)
    ]
    for g in gradients:
        g["w"][0, 0] = 0.0
        g["scalar"] = np.abs(g["scalar"]) + 0.1  # one entry that crosses 0 has no relative error
    return params, gradients


def slots(state: Any) -> dict[str, list]:
    """The fields of a state, of all the states nested in it: name to values (a tree or a count each)."""
    found: dict[str, list] = {}

    def walk(node):
        for name, value in zip(getattr(node, "_fields", range(len(node))), node, strict=True):
            if isinstance(value, tuple):
                walk(value)
            else:
                found.setdefault(name, []).append(value)

    walk(state if isinstance(state, tuple) else (state,))
    return found


def started(state: Any, seed: int) -> Any:
    """The same state as if training had gone on for a while: positive random slots, count 7."""
    rng = np.random.default_rng(seed)

    def one(x):
        if jnp.issubdtype(x.dtype, jnp.integer):
            return jnp.full_like(x, 7)
        return jnp.asarray(0.5 + rng.random(x.shape), x.dtype)

    return jax.tree.map(one, state)


def seen_by_run(value: Any, count: int) -> Any:
    """A hyperparameter as the run sees it: a schedule at its count, a number rounded to the default float dtype."""
    if isinstance(value, ol.Schedule):
        return float(value(count))
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(np.asarray(value, jnp.result_type(float))) if is_number else value


def relative_error(ours: Any, reference: Any) -> float:
    """The largest difference as a share of the reference's largest entry."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert ours.shape == reference.shape, (ours.shape, reference.shape)
    assert np.iscomplexobj(ours) == np.iscomplexobj(reference), (ours.dtype, reference.dtype)
    assert np.all(np.isfinite(ours)), ours  # max() passes over a NaN
    scale = np.max(np.abs(reference), initial=0.0)
    return float(np.max(np.abs(ours - reference), initial=0.0) / (scale or 1.0))


def worst_error(row, settings, dtype, *, start: bool, steps: int = 5, seed: int = 0) -> float:
    """The largest relative error of updates and states over some steps, leaves and slots, `dtype` being the leaves'.

    The reference runs in float64 on what the run is given: gradients, parameters and hyperparameters as rounded.
    """
    params, gradients = random_trees(seed, steps, complex_=row.complex_)

    complex_dtype = np.result_type(dtype, np.complex64)

    def given(tree):
        return {k: jnp.asarray(v, complex_dtype if np.iscomplexobj(v) else dtype) for k, v in tree.items()}

    def exact(tree):
        return {k: np.asarray(v, np.complex128 if np.iscomplexobj(v) else np.float64) for k, v in given(tree).items()}

    tx, w = row.factory(**settings), exact(params)
    arguments = {k: p.default for k, p in row.factory.signature.parameters.items()} | settings
    hyperparameters = {k: v for k, v in arguments.items() if k not in row.unlike}
    state = tx.init(given(params))
    memory: dict = dict.fromkeys(w)
    if start:
        state = started(state, seed)
        memory = {k: _reference_state(row, state, k) for k in w}
    worst = 0.0
    first = 7 if start else 0
    for count, gradient in enumerate(gradients, start=first):
        updates, state = tx.update(given(gradient), state, given(params))
        now = {k: seen_by_run(v, count) for k, v in hyperparameters.items()}
        reference, memory = _reference_step(row, exact(gradient), memory, w, now)
        for k in w:
            worst = max(worst, relative_error(updates[k], reference[k]))
            worst = max(worst, _state_error(slots(state), memory[k], k, count + 1))
    return worst


def _reference_step(row, gradient, memory, w, now):
    if row.whole_tree:
        updates, _ = row.reference(list(gradient.values()), None, list(w.values()), **now)
        return dict(zip(w, updates, strict=True)), {k: {} for k in w}
    pairs = {k: row.reference(gradient[k], memory[k], w[k], **now) for k in w}
    return {k: u for k, (u, _) in pairs.items()}, {k: s for k, (_, s) in pairs.items()}


def _reference_state(row, state, leaf):
    """The reference's state for one leaf, made of ours; None where it keeps nothing."""
    wide = {k: v[0] for k, v in slots(state).items()}
    as_exact = {
        k: int(v) if k == "count" else np.asarray(v[leaf], np.result_type(v[leaf].dtype, np.float64))
        for k, v in wide.items()
    }
    return as_exact or None


def _state_error(ours, reference, leaf, count):
    counts = {int(c) for c in ours.get("count", [])}
    assert counts <= {count}, f"counts {counts} after update {count}"
    assert set(ours) - {"count"} == set(reference) - {"count"}, (set(ours), set(reference))
    assert reference.get("count", count) == count
    return max((relative_error(ours[k][0][leaf], v) for k, v in reference.items() if k != "count"), default=0.0)
