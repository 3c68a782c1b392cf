"""Clipping: entry by entry, or by the norm of the tree, of a leaf, of a unit's weights, of one
example's gradient.
"""

import functools

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import leafwise
from optax_lite.core.matrices import axes_once
from optax_lite.core.norms import global_norm, norm, rms
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, EmptyState, Number, PyTree, transform
from optax_lite.core.trees import leaf_paths
from optax_lite.core.types import Limit, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_nonnegative


def fit(norm, most):
    """Return the factor that brings a norm down to `most`, and 1 where it is not above that."""
    fits = norm <= most
    return jnp.where(fits, 1.0, most / jnp.where(fits, 1.0, norm))


def _fit_tree(updates, max_norm):
    """Bring the norm over all leaves down to `max_norm`, and return the norm before that too."""
    norm = weak_typed(global_norm(updates))
    factor = fit(norm, max_norm)
    return leafwise(lambda g: factor * g, updates), norm


@transform
def clip(max_delta: Limit):
    """Bring every entry into [-max_delta, max_delta]; for real updates only.

    Args:
        max_delta: Largest absolute value of an entry, at least 0.
    """
    check_nonnegative(max_delta=max_delta)

    def update(updates, state):
        return leafwise(
            lambda g: jnp.clip(g, -max_delta, max_delta), updates, real_only=True
        ), state

    return lambda params: EmptyState(), update


@transform
def clip_by_global_norm(max_norm: Limit):
    """Scale all updates by max_norm / ‖g‖ if the norm ‖g‖ over all leaves is above it. Pascanu et
    al. 2013.

    A NaN or infinite entry makes every update NaN or 0; skip such a step instead of clipping it.

    Args:
        max_norm: Largest norm, at least 0.
    """
    check_nonnegative(max_norm=max_norm)

    def update(updates, state):
        return _fit_tree(updates, max_norm)[0], state

    return lambda params: EmptyState(), update


@transform
def clip_by_block_rms(threshold: Limit):
    """Scale a leaf by threshold / RMS(g) if its root mean square is above it. Shazeer & Stern 2018,
    section 6.

    Args:
        threshold: Largest root mean square of a leaf, at least 0.
    """
    check_nonnegative(threshold=threshold)

    def update(updates, state):
        return leafwise(lambda g: fit(rms(g), threshold) * g, updates), state

    return lambda params: EmptyState(), update


def _norm_by_unit(x, axis):
    """Return the norm of what feeds each unit.

    It goes over all axes but the last, of 3 axes over the first, of a vector over the whole.
    """
    if axis is not None:
        return norm(x, axis)
    is_vector = sum(n != 1 for n in x.shape) <= 1
    return norm(
        x, tuple(range(x.ndim)) if is_vector else 0 if x.ndim < 4 else tuple(range(x.ndim - 1))
    )


def unitwise_norm(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Give every entry the norm of its unit, as `adaptive_grad_clip` measures it.

    Args:
        x: Weights or gradients of a layer, an array with the units along its last axis.
        axis: Axes that a norm is taken over, if the units are elsewhere.
    """
    _check_axes(x, axis, "unitwise_norm")
    return jnp.broadcast_to(_norm_by_unit(x, axis), x.shape)


def unitwise_clip(g_norm: Array, max_norm: Array, grad: Array, div_eps: float = 1e-6) -> Array:
    """Scale the gradient of each unit down to max_norm where its norm is above.

    Args:
        g_norm: Norm of each entry's unit, in the shape of the gradient.
        max_norm: Largest norm allowed, in the same shape.
        grad: Gradient, an array.
        div_eps: Lower bound of g_norm as a divisor.
    """
    if not jnp.shape(g_norm) == jnp.shape(max_norm) == jnp.shape(grad):
        raise ValueError(
            "unitwise_clip: g_norm, max_norm and grad must have the same shape, got "
            f"{jnp.shape(g_norm)}, {jnp.shape(max_norm)} and {jnp.shape(grad)}"
        )
    return _fit_unit(g_norm, max_norm, div_eps) * grad


def _fit_unit(g_norm, most, div_eps=1e-6):
    return jnp.where(g_norm <= most, 1, most / jnp.maximum(g_norm, div_eps))


def _check_axes(updates, axis, name="adaptive_grad_clip"):
    """Raise, naming the first leaf, if a leaf lacks one of these axes or has no default ones."""
    for i, shape in enumerate(map(jnp.shape, jax.tree.leaves(updates))):
        if len(shape) > 5 if axis is None else axes_once((axis,), len(shape)) is None:
            leaf = f"leaf {leaf_paths(updates, nothing_too=False)[i]!r} of shape {shape}"
            problem = (
                f"axis {axis!r} must name axes of {leaf}, each at most once; to leave that leaf "
                "out, use masked(...)"
            )
            problem = f"{leaf} has no default axes; pass axis=" if axis is None else problem
            raise ArgumentError(problem, name, ("axis", axis))


@transform(static=("axis",))
def adaptive_grad_clip(
    clipping: Limit, eps: ScalarOrSchedule = 1e-3, axis: int | tuple[int, ...] | None = None
):
    """Clip the gradient of a unit in proportion to the norm of its weights. Brock et al. 2021,
    equation 3.

        g ← g·clipping·max(‖w‖, eps) / ‖g‖ if ‖g‖ is above clipping·max(‖w‖, eps)

    A unit is an output of a layer, with its weights along the last axis (Flax). As in the authors'
    code, ‖g‖ in the denominator is at least 1e-6, which shrinks smaller gradients further.

    Args:
        clipping: Largest norm of a gradient relative to its weights, at least 0.
        eps: Least value of ‖w‖, at least 0; it lets weights that are 0 move.
        axis: Axes that a norm is taken over, if the units are not on the last axis.
    """
    check_nonnegative(clipping=clipping)

    def rule(g, w):
        g_norm, most = _norm_by_unit(g, axis), clipping * jnp.maximum(_norm_by_unit(w, axis), eps)
        return _fit_unit(g_norm, most) * g

    def update(updates, state, params):
        _check_axes(updates, axis)
        return leafwise(rule, updates, read=(params,)), state

    return lambda params: EmptyState(), update


def _check_examples(name, grads):
    """Raise, naming leaves, unless all leaves have the same number of examples."""
    shapes = dict(
        zip(
            leaf_paths(grads, nothing_too=False),
            map(jnp.shape, jax.tree.leaves(grads)),
            strict=True,
        )
    )
    if len({shape[:1] for shape in shapes.values()}) > 1 or () in shapes.values():
        shown = ", ".join(f"{path!r} {shape}" for path, shape in list(shapes.items())[:6])
        problem = (
            f"all gradients must have the same number of examples along the first axis, got {shown}"
        )
        raise ArgumentError(
            f"{problem}; write jax.vmap(jax.grad(loss_fn), in_axes=(None, 0))(params, batch)", name
        )


@jax.jit
def per_example_global_norm_clip(grads: PyTree, l2_norm_clip: Number) -> tuple[PyTree, Array]:
    """Clip the gradient of each example, and return their sum. Abadi et al. 2016, Algorithm 1.

        Σ g·min(1, l2_norm_clip / ‖g‖) over the examples, ‖g‖ over all leaves

    Args:
        grads: Gradients of single examples, a pytree with the examples along the first axis of
            every leaf.
        l2_norm_clip: Largest norm of the gradient of one example.

    Returns:
        The sum, in float32 at least, and how many examples were clipped.
    """
    _check_examples("per_example_global_norm_clip", grads)
    clipped, norms = jax.vmap(lambda g: _fit_tree(g, weak_typed(l2_norm_clip)))(grads)
    return jax.tree.map(lambda g: jnp.sum(g, axis=0), clipped), jnp.sum(norms > l2_norm_clip)


@functools.partial(jax.jit, static_argnames="uniform")
def per_example_layer_norm_clip(
    grads: PyTree, global_l2_norm_clip: ScalarOrSchedule, uniform: bool = True
) -> tuple[PyTree, PyTree]:
    """Clip each of K leaves of each example by itself, and return the sums. McMahan et al. 2018.

    Every leaf is clipped to C / √K, C the global clip, or with `uniform=False` a leaf of d of all D
    entries to C·√(d / D). Both keep the norm over all leaves at C.

    Args:
        grads: Gradients of single examples, a pytree with the examples along the first axis of
            every leaf.
        global_l2_norm_clip: Largest norm C of the gradient of one example.
        uniform: Clip every leaf to the same norm; False shares C out by number of entries.

    Returns:
        The sums, in float32 at least, and for each leaf how many examples were clipped.
    """
    _check_examples("per_example_layer_norm_clip", grads)
    leaves, treedef = jax.tree.flatten(grads)
    sizes = [g.size for g in leaves]
    shares = [1 / len(leaves) if uniform else size / max(sum(sizes), 1) for size in sizes]
    results = [
        per_example_global_norm_clip(g, weak_typed(global_l2_norm_clip) * share**0.5)
        for g, share in zip(leaves, shares, strict=True)
    ]
    return tuple(map(treedef.unflatten, zip(*results, strict=True)))
