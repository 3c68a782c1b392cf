"""Clipping: entry by entry, or by the norm of the tree, of a leaf, of a unit's weights, of one
example's gradient.
"""

import functools

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import leaf_paths, leafwise
from optax_lite.core.matrices import axes_once
from optax_lite.core.norms import global_norm, norm, rms
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, EmptyState, Number, PyTree, transform
from optax_lite.core.types import Limit
from optax_lite.core.validate import ArgumentError, check_nonnegative


def fit(norm, most):
    """Return the factor that brings a norm down to `most`, and 1 where it is not above that."""
    fits = norm <= most
    return jnp.where(fits, 1.0, most / jnp.where(fits, 1.0, norm))


def _fit_tree(updates, max_norm):
    """The updates with their norm over all leaves brought down to `max_norm`, and the norm they
    had.
    """
    norm = weak_typed(global_norm(updates))
    factor = fit(norm, max_norm)
    return leafwise(lambda g: factor * g, updates), norm


@transform
def clip(max_delta: Limit):
    """Bring every entry into [-max_delta, max_delta]; for real updates only."""
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
    """
    check_nonnegative(max_norm=max_norm)

    def update(updates, state):
        return _fit_tree(updates, max_norm)[0], state

    return lambda params: EmptyState(), update


@transform
def clip_by_block_rms(threshold: Limit):
    """Scale a leaf by threshold / RMS(g) if its root mean square is above it. Shazeer & Stern 2018,
    section 6.
    """
    check_nonnegative(threshold=threshold)

    def update(updates, state):
        return leafwise(lambda g: fit(rms(g), threshold) * g, updates), state

    return lambda params: EmptyState(), update


def _norm_by_unit(x, axis):
    """The norm of what feeds each unit: all axes but the last, of 3 axes the first, of a vector the
    whole.
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
        x: An array of weights or gradients of a layer, the units along its last axis.
        axis: The axes that a norm goes over, where they are others.
    """
    _check_axes(x, axis, "unitwise_norm")
    return jnp.broadcast_to(_norm_by_unit(x, axis), x.shape)


def unitwise_clip(g_norm: Array, max_norm: Array, grad: Array, div_eps: float = 1e-6) -> Array:
    """Scale the gradient of each unit down to max_norm where its norm is above.

    Args:
        g_norm: The norm of each entry's unit, of the shape of the gradient.
        max_norm: The largest norm allowed, of that shape.
        grad: The gradient.
        div_eps: What g_norm is at least where it divides.
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
    """Raise, naming the first leaf that has not these axes, each named once, or no default ones."""
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
    clipping: Limit, eps: Number = 1e-3, axis: int | tuple[int, ...] | None = None
):
    """Scale the g of a unit to clipping·max(‖w‖, eps) if ‖g‖ is above. Brock et al. 2021, equation
    3.

    A unit is an output of a layer, with its weights on the last axis (Flax); `axis` says which axes
    go into a norm where that is otherwise. `eps` lets weights that are 0 leave it. ‖g‖ counts as
    1e-6 at least where it divides, as in the authors' code, which shrinks smaller gradients
    further.
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
    """Raise, naming leaves, unless all have as many examples."""
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
    """The sum over examples of g·min(1, l2_norm_clip / ‖g‖), and how many were clipped. Abadi et
    al. 2016, Algorithm 1.

    Every leaf has the examples along its first axis; ‖g‖ is that of one example over all leaves.
    Summed in float32 at least, and returned so.
    """
    _check_examples("per_example_global_norm_clip", grads)
    clipped, norms = jax.vmap(lambda g: _fit_tree(g, weak_typed(l2_norm_clip)))(grads)
    return jax.tree.map(lambda g: jnp.sum(g, axis=0), clipped), jnp.sum(norms > l2_norm_clip)


@functools.partial(jax.jit, static_argnames="uniform")
def per_example_layer_norm_clip(
    grads: PyTree, global_l2_norm_clip: Number, uniform: bool = True
) -> tuple[PyTree, PyTree]:
    """`per_example_global_norm_clip` of each of K leaves by itself, to C / √K, C the global clip.
    McMahan et al. 2018.

    With `uniform=False` a leaf of d of all D entries is clipped to C·√(d / D). Both keep the norm
    over all leaves at C.
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
