"""Gradient accumulation: one step for several micro-batches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.core.compose import check_members
from optax_lite.core.functions import wrapping
from optax_lite.core.leafwise import increment, leafwise, varying_like, zero_count, zeros_like
from optax_lite.core.masks import OF_NO_PARAMETER, Placeholder
from optax_lite.core.norms import all_finite, sum_sq
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import (
    Array,
    GradientTransformation,
    Number,
    PyTree,
    takes_examples,
    transform,
)
from optax_lite.core.types import ScheduleFunction, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import usage
from optax_lite.errors.composition import SCALED


class AccumulateState(NamedTuple):
    mini_step: Array  # micro-gradients since the last real step, int32
    gradient_step: Array  # real steps due so far, int32: the argument of a schedule for `every`
    num_finite: Array  # micro-gradients in the sum since the last real step, int32
    total_notfinite: Array  # micro-gradients left out so far, int32
    total_weight: Array | None  # weight of the sum; None unless reduce="weighted"
    # sum of the micro-gradients since the last real step, float32 at least; stays until the next
    # one
    acc_grads: PyTree
    inner_state: PyTree  # state of the transformation that makes the real steps


@transform(static=("every",), is_a=("resting", "gate"), not_around=SCALED)
def accumulate(tx: TransformationLike, every: int | ScheduleFunction, *, reduce: str = "mean"):
    """Let `tx` take one step for every `every` gradients, with their mean; in between nothing
    moves.

    `tx` runs once per real step, and its schedules count real steps; members of a chain next to
    `accumulate` run for every micro-gradient. Prefer `tx.step`: between real steps it returns the
    params unchanged, whereas `update` returns updates of -0.0, which are then added. `tx` gets the
    extra arguments of the last micro-gradient.

    A micro-gradient that is not finite counts towards `every` but not towards the mean; the state
    counts these. If none was finite, the step is skipped.

    `reduce="weighted"` computes Σ weight·g / Σ weight, and every call passes the `weight` of its
    gradient. If that is the number of tokens in a micro-batch, means over its tokens become the
    mean over all tokens. A micro-gradient of weight 0 adds nothing, even if it is NaN, as a mean
    over no tokens is. If all weights are 0, the step is skipped.

    `every` is static, because a batch size is not a number to sweep. Under `jax.vmap` over other
    numbers, `tx` still runs only when a step is due, provided that `init` is called inside the
    mapped function, so that all members share their counts.

    Args:
        tx: The optimizer, or any other transformation.
        every: Gradients per step: an integer of at least 1, or a schedule (or function) of the
            number of real steps so far.
        reduce: How gradients are combined: "mean", "sum" or "weighted".

    Examples:
        >>> tx = accumulate(chain(clip_by_global_norm(1.0), adamw(1e-3)), 8)
        >>> tx = accumulate(adamw(1e-3), 8, reduce="weighted")
        >>> params, state = tx.step(grads, tx.init(params), params, weight=mask.sum())
    """
    check_members({"tx": tx})
    _check_every(every=every)
    if reduce not in ("mean", "sum", "weighted"):
        raise ArgumentError(f'reduce must be "mean", "sum" or "weighted", got {reduce!r}')
    if takes_examples(tx):
        raise ArgumentError(
            "tx needs per-example gradients, but would get means of them; write "
            "chain(differentially_private_aggregate(...), accumulate(...)), which clips each "
            "example first"
        )

    weighted = reduce == "weighted"

    def init(params):
        weight = jnp.zeros(()) if weighted else None
        measured = varying_like(
            (zero_count(), zero_count(), weight, zeros_like(params), tx.init(params)), params
        )
        return AccumulateState(zero_count(), zero_count(), *measured)

    def run(inner, updates, state, params=None, **extra):
        is_first, finite, weight = state.mini_step == 0, all_finite(updates), 1.0
        counted, total_weight = finite, state.total_weight
        if weighted:
            if (given := extra.pop("weight", None)) is None:
                raise TypeError(
                    'accumulate: reduce="weighted" needs tx.step(grads, state, params, '
                    "weight=mask.sum())"
                )
            weight = jnp.asarray(given).astype(total_weight.dtype)
            finite = (finite | (weight == 0)) & jnp.isfinite(weight)
            counted = finite & (weight != 0)
            total_weight = jnp.where(is_first, 0, total_weight) + jnp.where(counted, weight, 0)
            weight = weak_typed(weight)

        def add(g, total):
            total = jnp.where(is_first, 0, total)
            total = jnp.where(counted, total + weight * g, total)
            return total, total

        # the same, but None where there is no gradient
        here, total = leafwise(add, updates, state.acc_grads)
        num_finite = jnp.where(is_first, 0, state.num_finite) + counted.astype(jnp.int32)
        mini_step = increment(state.mini_step)
        # of counts alone: the same for all of a population
        due = mini_step >= _size(every, state.gradient_step)

        def real():
            share = {"mean": num_finite, "sum": 1, "weighted": total_weight}[reduce]
            share = weak_typed(jnp.where(num_finite > 0, share, 1))
            reduced = leafwise(lambda total: total / share, here)
            return inner.where(num_finite > 0, reduced, state.inner_state, params, **extra)

        new, inner_state = jax.lax.cond(
            due, real, lambda: (inner.still(here, params), state.inner_state)
        )
        mini_step = jnp.where(due, 0, mini_step)
        gradient_step = jnp.where(due, increment(state.gradient_step), state.gradient_step)
        total_notfinite = jnp.where(finite, state.total_notfinite, increment(state.total_notfinite))
        counts = (mini_step, gradient_step, num_finite, total_notfinite)
        return new, AccumulateState(*counts, total_weight, total, inner_state)

    return wrapping(tx, init, run)


def _check_every(**values: Any) -> None:
    for name, value in values.items():
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(value)):
            raise ArgumentError(
                f"{name} must have concrete numbers, got {value!r}; build it outside jit and vmap"
            )
        if not callable(value):
            check_count(**{name: value})


def _size(every, gradient_step):
    """Return how many gradients make the real step of this number: the count, or a schedule's value
    rounded up.
    """
    if not callable(every):
        return every
    size: Any = every(gradient_step)
    return jnp.ceil(jnp.asarray(size).astype(jnp.float32)).astype(jnp.int32)


class MultiStepsState(NamedTuple):
    mini_step: Array  # gradients since the last real step, int32
    gradient_step: Array  # real steps so far, int32
    inner_opt_state: PyTree  # state of the optimizer that makes the real steps
    acc_grads: PyTree  # mean, or sum, of the gradients since the last real step, float32 at least
    skip_state: PyTree = ()  # what `should_skip_update_fn` said of the last gradient


@transform(
    static=("every_k_schedule", "should_skip_update_fn", "accumulator_dtype"),
    is_a=("resting", "gate"),
    not_around=SCALED,
)
def _MultiSteps(
    opt, every_k_schedule, use_grad_mean=True, should_skip_update_fn=None, accumulator_dtype=None
):
    check_members({"opt": opt})
    _check_every(every_k_schedule=every_k_schedule)
    if should_skip_update_fn is not None:
        check_function(should_skip_update_fn=should_skip_update_fn)

    def look(updates, gradient_step, params):
        if should_skip_update_fn is None:
            return jnp.zeros((), bool), ()
        return should_skip_update_fn(updates, gradient_step, params)

    def init(params):
        zeros, inner_opt_state = zeros_like(params, accumulator_dtype), opt.init(params)
        if isinstance(params, Placeholder):
            return MultiStepsState(
                zero_count(), zero_count(), inner_opt_state, zeros, OF_NO_PARAMETER
            )
        _, skip_state = look(zeros_like(params), zero_count(), params)
        mini_step, gradient_step = zero_count(), zero_count()
        if should_skip_update_fn is not None:  # then the counts depend on the gradients
            skip_state = jax.tree.map(jnp.zeros_like, skip_state)
            mini_step, gradient_step, skip_state = varying_like(
                (mini_step, gradient_step, skip_state), params
            )
        return MultiStepsState(mini_step, gradient_step, inner_opt_state, zeros, skip_state)

    def run(inner, updates, state, params=None, **extra):
        skip, skip_state = look(updates, state.gradient_step, params)
        share = weak_typed((state.mini_step + 1).astype(jnp.float32))

        def add(g, mean):
            mean = jnp.where(skip, mean, mean + (g - mean) / share if use_grad_mean else mean + g)
            return mean, mean

        # the same, but None where there is no gradient
        here, acc_grads = leafwise(add, updates, state.acc_grads)
        mini_step = jnp.where(skip, state.mini_step, increment(state.mini_step))
        due = ~skip & (mini_step >= _size(every_k_schedule, state.gradient_step))

        def real():
            new, inner_state = inner.like_still(here, state.inner_opt_state, params, **extra)
            return new, inner_state, jax.tree.map(jnp.zeros_like, acc_grads)

        def wait():
            return inner.still(here, params), state.inner_opt_state, acc_grads

        new, inner_state, acc_grads = jax.lax.cond(due, real, wait)
        gradient_step = jnp.where(due, increment(state.gradient_step), state.gradient_step)
        return new, MultiStepsState(
            jnp.where(due, 0, mini_step), gradient_step, inner_state, acc_grads, skip_state
        )

    return wrapping(opt, init, run)


class MultiSteps(GradientTransformation):
    """Accumulate gradients in optax's form, with a method `has_updated`; `accumulate` is the newer
    form.

        tx = MultiSteps(adam(1e-3), every_k_schedule=4, should_skip_update_fn=skip_not_finite)

    A gradient that `should_skip_update_fn` refuses is ignored altogether: the real step waits for
    another one.

    Args:
        opt: The optimizer that takes the real steps.
        every_k_schedule: Gradients per step: an integer of at least 1, or a schedule (or function)
            of the number of real steps so far.
        use_grad_mean: Step with the mean of the gradients; False for their sum.
        should_skip_update_fn: Function `(updates, gradient_step, params)` that returns a bool, True
            to refuse the gradient, and arrays to keep in `skip_state`.
        accumulator_dtype: Dtype in which the mean is stored; None for the parameters' own, float32
            at least.
    """

    __slots__ = ()

    def __new__(
        cls,
        opt,
        every_k_schedule,
        use_grad_mean=True,
        should_skip_update_fn=None,
        accumulator_dtype=None,
    ):
        tx = _MultiSteps(
            opt, every_k_schedule, use_grad_mean, should_skip_update_fn, accumulator_dtype
        )
        return cls.copy_of(tx)

    @property
    def inner_opt(self) -> GradientTransformation:
        """Return the optimizer that takes the real steps."""
        return self.arguments["opt"]

    def gradient_transformation(self) -> GradientTransformation:
        """Return itself, which already is a transformation."""
        return self

    def has_updated(self, state: MultiStepsState) -> Array:
        """Tell whether the last gradient completed a real step.

        Args:
            state: State of the optimizer, as `init`, `update` or `step` returned it.
        """
        skipped = state.skip_state["should_skip"] if isinstance(state.skip_state, dict) else False
        return (state.mini_step == 0) & (state.gradient_step > 0) & ~jnp.asarray(skipped)


def skip_not_finite(
    updates: PyTree, gradient_step: Array, params: PyTree | None
) -> tuple[Array, dict[str, Array]]:
    """Refuse a gradient with an entry that is infinite or NaN; for `MultiSteps`.

    Args:
        updates: Gradients or updates, a pytree with the structure of the parameters.
        gradient_step: Number of real steps so far; not used.
        params: Parameters, a pytree of arrays. Not used; may be None.

    Returns:
        Whether to refuse it, and a dict for `skip_state` with the number of such entries.
    """
    counts = [jnp.sum(~jnp.isfinite(x), dtype=jnp.int32) for x in jax.tree.leaves(updates)]
    found = sum(counts, start=zero_count())
    return found > 0, {"should_skip": found > 0, "num_not_finite": found}


@usage(
    "MultiSteps(tx, k, should_skip_update_fn=functools.partial(skip_large_updates, "
    "max_squared_norm=...))"
)
def skip_large_updates(
    updates: PyTree, gradient_step: Array, params: PyTree | None, max_squared_norm: Number
) -> tuple[Array, dict[str, Array]]:
    """Refuse a gradient unless its squared norm is below a maximum; for `MultiSteps`.

    Args:
        updates: Gradients or updates, a pytree with the structure of the parameters.
        gradient_step: Number of real steps so far; not used.
        params: Parameters, a pytree of arrays. Not used; may be None.
        max_squared_norm: The maximum; a norm that is NaN is refused too.

    Returns:
        Whether to refuse it, and a dict for `skip_state` with the squared norm over all leaves.

    Examples:
        >>> skip = functools.partial(skip_large_updates, max_squared_norm=100.0)
        >>> tx = MultiSteps(adam(1e-3), 4, should_skip_update_fn=skip)
    """
    norm_squared = sum_sq(updates)
    skip = ~(norm_squared < weak_typed(max_squared_norm))  # also where it is NaN
    return skip, {"should_skip": skip, "norm_squared": norm_squared}


class ApplyEvery(NamedTuple):
    """The state of `apply_every`."""

    count: Array  # updates since the last emission, int32
    grad_acc: PyTree  # their sum, float32 at least; stays until the next update


@transform(static=("k",), is_a=("sum",))
def apply_every(k: int = 1):
    """Sum the updates, and emit the sum at every k-th one, -0.0 at the others.

    The rest of a chain runs every time; wrap an optimizer that should not in `accumulate`.

    Args:
        k: Updates per sum, an integer of at least 1.
    """
    check_count(k=k)

    def update(updates, state):
        is_first, is_last = state.count == 0, state.count == k - 1

        def rule(g, total):
            total = jnp.where(is_first, g, total + g)
            return jnp.where(is_last, total, -jnp.zeros_like(g)), total

        updates, grad_acc = leafwise(rule, updates, state.grad_acc)
        return updates, ApplyEvery(increment(state.count) % k, grad_acc)

    return lambda params: ApplyEvery(zero_count(), zeros_like(params)), update
