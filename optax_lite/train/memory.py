"""Read the memory of a training step from its compiled program, before anything is allocated."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from optax_lite.core.compose import as_optimizer
from optax_lite.core.transform import Params
from optax_lite.core.trees import is_inexact, show_leaf
from optax_lite.core.types import PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import check_params, usage
from optax_lite.inspect._table import show_bytes
from optax_lite.inspect.explain import explain
from optax_lite.train._reuse import StepCache
from optax_lite.train.step import compiled_step
from optax_lite.wrappers.lookahead import LookaheadParams


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes of a step by purpose; print it, or take the numbers."""

    parameters: int  # of the params
    # all at once, in the dtypes of the params; part of `temporary`, or of `arguments` without a
    # loss
    gradients: int
    state: dict[str, int]  # by slot; "shared" is what belongs to no parameter
    arguments: int  # further arguments of the step: the batch
    temporary: int  # activations, gradients and whatever else lives within the step only
    peak: int  # what must exist while the step runs
    # where it was compiled: another one fuses differently, with other temporaries
    platform: str

    def __str__(self) -> str:
        rows = {"parameters": self.parameters, "gradients": self.gradients}
        rows |= {f"state {slot}": n for slot, n in self.state.items()}
        rows |= {
            "arguments": self.arguments,
            "temporary": self.temporary,
            f"peak on {self.platform}": self.peak,
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}}  {show_bytes(n):>7}" for name, n in rows.items())

    __repr__ = __str__


@usage("explain_memory(tx, params, loss_fn, *args)")
def explain_memory(
    tx: TransformationLike,
    params: Params,
    loss_fn: Callable[..., Any] | None = None,
    *args: PyTree,
    has_aux: bool = False,
    donate: bool = True,
) -> StepMemory:
    """Return the bytes of params, gradients and each slot, and the peak of a step as the compiler
    plans it.

        print(explain_memory(tx, params, loss_fn, x, y))

    It compiles `make_step(loss_fn)` and allocates nothing. The peak is arguments + results -
    donated + temporary, for one device, whatever the sharding of the params.

    Args:
        tx: The optimizer, or any other transformation.
        params: Parameters, a pytree of arrays. Shapes are enough (`jax.ShapeDtypeStruct`).
        loss_fn: Function `(params, *args)` that returns the loss; None for `tx.step` of gradients
            that are there already.
        *args: Further arguments of `loss_fn`, such as a batch; shapes are enough.
        has_aux: Let `loss_fn` return (loss, aux).
        donate: Give the memory of the old params and state to the new ones.
    """
    tx = as_optimizer(tx, "explain_memory", "explain_memory(tx, params, loss_fn, *args)")
    check_params("explain_memory", params)
    if loss_fn is not None and not callable(loss_fn):
        problem = f"loss_fn must be a function of the params, got {show_leaf(loss_fn)}"
        raise ArgumentError(
            f"{problem}; the order is explain_memory(tx, params, loss_fn, *args)", "explain_memory"
        )
    params, args = jax.tree.map(_shape, (params, args))
    fast = params.fast if isinstance(params, LookaheadParams) else params
    grads = jax.tree.map(lambda p: p if is_inexact(p) else None, fast)
    state = jax.eval_shape(tx.init, params)
    if loss_fn is None:
        lowered = (_stepping if donate else jax.jit(_step)).lower(tx, grads, state, params)
    else:
        same = StepCache().unchanged(tx, params, state, args)
        lowered = compiled_step(loss_fn, donate).run.lower(has_aux, tx, params, state, args, same)
    plan = lowered.compile().memory_analysis()
    if plan is None:
        raise RuntimeError(
            "explain_memory: this backend does not report how much memory a program takes"
        )
    # The compiler's `peak_memory_in_bytes` leaves temporaries out on a CPU (decision 48).
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    return StepMemory(
        parameters=_nbytes(params),
        gradients=_nbytes(grads),
        state=explain(tx, fast).totals["state_bytes"],
        arguments=_nbytes(grads if loss_fn is None else args),
        temporary=plan.temp_size_in_bytes,
        peak=held + plan.temp_size_in_bytes,
        platform=jax.default_backend(),
    )


def _step(tx, grads, state, params):
    return tx.step(grads, state, params)


_stepping = partial(jax.jit, donate_argnums=(2, 3))(_step)


def _shape(x):
    if not hasattr(x, "dtype"):
        return x  # Python's numbers, in args
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    return jax.ShapeDtypeStruct(x.shape, dtype, weak_type=getattr(x, "weak_type", False))


def _nbytes(tree: Any) -> int:
    return sum(
        math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree) if hasattr(x, "dtype")
    )
