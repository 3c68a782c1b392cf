"""One compiled training step of any loss with any optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.core.compose import as_optimizer
from optax_lite.core.transform import GradientTransformation, OptState, Params
from optax_lite.core.trees import is_inexact, show_leaf
from optax_lite.core.types import Array, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import check_call, check_params, errors_named, usage
from optax_lite.errors.states import is_state
from optax_lite.errors.step import explain_failure
from optax_lite.linesearch.backtracking import searches, value_and_grad_from_state
from optax_lite.train._programs import Program, Programs
from optax_lite.train._reuse import StepCache, own_arrays
from optax_lite.train._telemetry import checked, telemetry
from optax_lite.wrappers.loss_scaling import loss_scale_of, scale_loss


class Step(Protocol):
    """A compiled training step."""

    def __call__(
        self, tx: TransformationLike, params: Params, state: OptState, *args: PyTree
    ) -> tuple[Params, OptState, dict[str, Any]]:
        """Return the params and the state after the step, and its metrics."""
        ...


@usage("step = make_step(loss_fn); params, state, metrics = step(tx, params, state, *args)")
def make_step(loss_fn: Callable[..., Any], *, has_aux: bool = False, donate: bool = True) -> Step:
    """Make `step(tx, params, state, *args) -> (params, state, metrics)` for a loss, compiled once.

    The optimizer is an argument, so changing its numbers does not compile again; a new shape or
    dtype of an argument does. The optimizer gets `value`, `grad`, `value_fn`, `grad_fn` and
    `obj_fn`, which is all that Polyak steps, MoMo, line searches, L-BFGS, Sophia and SAM need. For
    `loss_scaling`, the loss is scaled before it is differentiated. Integer and bool leaves of the
    params stay unchanged. Gradients of complex leaves are conjugated, as descent requires.

    Donated params and states cannot be used again; args are never donated. Inside `jax.jit`,
    `jax.vmap` or a scan the step donates nothing, because the outer call decides.

    Args:
        loss_fn: Function `(params, *args)` that returns the loss, one real number.
        has_aux: Let `loss_fn` return (loss, aux); aux is `metrics["aux"]`.
        donate: Give the memory of the old params and state to the new ones.

    Returns:
        The step. Its metrics are the loss before the update and what `with_metrics` keeps; they
        stay on the device, and reading one waits for it.

    Examples:
        >>> step = make_step(loss_fn)
        >>> tx = adamw(1e-3)
        >>> params, state, metrics = step(tx, params, tx.init(params), x, y)
        >>> tx = tx.replace(learning_rate=1e-4)  # the next step does not compile again
    """
    return training_step(
        loss_fn, has_aux, donate, by="make_step", order="step(tx, params, state, *args)"
    )


def training_step(
    loss_fn: Callable[..., Any], has_aux: bool, donate: bool, *, by: str, order: str
) -> Step:
    """The step of `make_step`, whose errors name the function that the user called."""
    if not callable(loss_fn):
        raise ArgumentError(f"loss_fn must be a function of the params, got {loss_fn!r}", by)
    run, inside, last = (
        compiled_step(loss_fn, donate),
        compiled_step(loss_fn, donate=False),
        StepCache(),
    )

    def step(tx, params, state, *args):
        tx = as_optimizer(tx, by, order)
        if isinstance(state, GradientTransformation):
            raise ArgumentError("state is an optimizer; write state = tx.init(params)", by)
        if not last.returned(params, state):
            params, state = own_arrays(params, state)
        same = last.unchanged(tx, params, state, args)
        try:
            now = inside if last.is_traced or _is_traced(params, state, args) else run
            params, state, metrics = now(has_aux, tx, params, state, args, same)
        except ArgumentError as error:
            raise error.named(by) from None
        except (TypeError, ValueError, RuntimeError) as error:
            with errors_named(by):
                check_call("loss_fn", loss_fn, ("params", *args), _hint(args, order))
            explain_failure(error, params, state, args, by)
            raise
        last.remember(params, state, args, same)
        return params, state, checked(metrics)

    return step


# --- inside the compiled step ---------------------------------------------------------------------


def advance(loss_fn, has_aux, tx, params, state, args, same):
    if is_state(params):
        raise ArgumentError("params is a state; the order is step(tx, params, state, *args)")
    check_params("", params)

    def loss_and_aux(params):
        return _pair(loss_fn(params, *args), has_aux)

    def value_fn(params):
        return loss_and_aux(params)[0]

    def grad_fn(params, *_):
        return _descent(jax.grad(value_fn, allow_int=True)(params))

    scale = loss_scale_of(state)
    if same is None or has_aux or scale is not None:

        def scaled(params):
            value, aux = loss_and_aux(params)
            return value if scale is None else scale_loss(state, value), (value, aux)

        grad, (value, aux) = jax.grad(scaled, has_aux=True, allow_int=True)(params)
        grad = _descent(grad)
    else:
        (kept,), aux = searches(state), None
        # infinite, as before the first step
        kept = kept._replace(value=jnp.where(same, kept.value, jnp.inf))
        value, grad = value_and_grad_from_state(value_fn)(params, state=kept)
    extra = {
        "value": value,
        "grad": grad,
        "value_fn": value_fn,
        "grad_fn": grad_fn,
        "obj_fn": value_fn,
    }
    params, state = tx.step(grad, state, params, **extra)
    # a norm here would cost a small network a third of its step
    metrics = {"loss": value, **telemetry(state, params)}
    return params, state, metrics | ({"aux": aux} if has_aux else {})


# Two steps, or two fits, of one loss share what is compiled, while the loss lives (decision 44).
_keeping = Programs(advance, static_argnums=0)
_donating = Programs(advance, static_argnums=0, donate_argnums=(2, 3))


def compiled_step(loss_fn: Callable[..., Any], donate: bool) -> Program:
    """Return the program behind every step: (has_aux, tx, params, state, args, same)."""
    return (_donating if donate else _keeping).of(loss_fn)


def _hint(args: tuple, order: str) -> str:
    """Give the usual reason why a loss does not accept the arguments of a step."""
    if len(args) == 1 and isinstance(args[0], Mapping):
        return (
            f"a batch that is a dict is one argument, loss_fn(params, batch); the order is {order}"
        )
    return f"the order is {order}"


def _is_traced(*trees: PyTree) -> bool:
    # in every call, so by kind
    return any(issubclass(kind, Tracer) for kind in set(map(type, jax.tree.leaves(trees))))


def _pair(out: Any, has_aux: bool) -> tuple[Array, Any]:
    """Return the loss and its auxiliary output; raise where the loss is not a real number."""
    is_pair = isinstance(out, tuple) and len(out) == 2
    if has_aux and not is_pair:
        raise ArgumentError(f"with has_aux=True loss_fn must return (loss, aux), got {_show(out)}")
    value: Any
    value, aux = out if has_aux else (out, None)
    if is_inexact(value) and jnp.shape(value) == () and not jnp.iscomplexobj(value):
        return jnp.asarray(value), aux
    if is_pair:
        hint = (
            "if the second value is not part of the loss, write make_step(loss_fn, "
            "has_aux=True); for fit, compute it in eval_fn"
        )
    elif getattr(value, "ndim", 0):
        hint = "reduce it with jnp.mean(...) or jnp.sum(...)"
    else:
        hint = "it must be real and floating"
    raise ArgumentError(f"loss_fn must return one number, got {_show(value)}; {hint}")


def _show(out):
    return (
        show_leaf(out)
        if hasattr(out, "dtype") or not isinstance(out, tuple)
        else f"a tuple of {len(out)}"
    )


def _descent(grad: PyTree) -> PyTree:
    """Convert JAX's gradient for an update: None for integers, and conjugated if complex, since
    JAX's would not lead downhill.
    """

    def one(g):
        return None if g.dtype == jax.dtypes.float0 else jnp.conj(g) if jnp.iscomplexobj(g) else g

    return jax.tree.map(one, grad)
