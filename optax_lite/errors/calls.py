"""Explain wrong calls: cheap checks run before the call, everything else only after it has failed.

`explain_update` and `explain_apply` get the error and the arguments. They raise a clearer error if
an argument is certainly the reason; otherwise they return, and the original error is raised.
"""

import contextlib
import functools
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.core.config import Config
from optax_lite.core.trees import is_inexact, is_missing, leaf_paths, path_string, show_leaf
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.states import first_difference, is_state, outline
from optax_lite.errors.suggestions import plain

P = ParamSpec("P")
R = TypeVar("R")

# what a wrong argument may end in
CALL_ERRORS = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)
_TRACED = (  # Python asked a traced number for its value
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
)
_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)
_UPDATE = "updates, state = tx.update(grads, state, params)"
# Python's words about operators, and those of jnp's functions
_TREE_ARITHMETIC = (
    r"(unsupported operand|bad operand|not supported between).*'(dict|list|tuple|NoneType)'"
    r"|requires ndarray or scalar arguments, got <class"
)
# what functions of NumPy and of math ask a traced array for; `int` is asked for by loops too
_AS_PYTHON = r"__array__\(\)|converted to Python scalars|`(float|complex)` function|item\(\)"
_LIBRARIES = tuple(
    os.path.dirname(file) for file in (jax.__file__, np.__file__, os.path.dirname(__file__))
)
_UNKNOWN = re.compile("unexpected keyword argument '([^']*)'")


class StateError(ValueError):
    """A state that the transformation did not make."""


# --- the call itself ------------------------------------------------------------------------------


def usage(usage: str, **elsewhere: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say how a function is called where arguments are missing, too many or unknown, and put its
    name in front of what a check inside says.

    `elsewhere` says where people find what they looked for under a keyword that the function does
    not have.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except ArgumentError as error:
                if (named := error.named(function.__name__)) is error:
                    raise
                raise named from error.__cause__
            except TypeError as error:
                if (
                    error.__traceback__ is not None and error.__traceback__.tb_next is None
                ):  # it was not even entered
                    told = str(error)  # from Python 3.13 on it may end in a question
                    unknown = _UNKNOWN.search(told)
                    hint = elsewhere.get(unknown[1]) if unknown else None
                    if hint is None:
                        hint = f"write {usage}"
                    if told.endswith("?"):
                        raise TypeError(f"{told} {hint[0].upper()}{hint[1:]}") from None
                    raise TypeError(f"{told}; {hint}") from None
                raise

        return wrapped

    return decorate


@contextlib.contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Put the name of the function that was called in front of what a check says."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(error.problem, name) from None


def check_call(name: str, function: Callable[..., Any], given: Sequence[Any], hint: str) -> None:
    """Raise if a function of the user's own does not take these positional arguments; a str stands
    for the argument of that name.
    """
    if problem := call_problem(function, given):
        own = getattr(function, "__name__", name)
        own = name if own == "<lambda>" else own
        shown = ", ".join(
            x if isinstance(x, str) else show_leaf(x) if hasattr(x, "dtype") else type(x).__name__
            for x in given
        )
        signature = plain(inspect.signature(function))
        raise ArgumentError(f"{own}{signature} was called with ({shown}): {problem}; {hint}")


def call_problem(
    function: Callable[..., Any],
    given: Sequence[Any] = (),
    named: Mapping[str, Any] | None = None,
    *,
    more: bool = False,
) -> str:
    """Return why a function does not take these arguments, and any behind them where there are
    `more`; nothing where it does, or does not say what it takes.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return ""
    try:
        (signature.bind_partial if more else signature.bind)(*given, **(named or {}))
    except TypeError as error:
        return str(error)
    return ""


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function, none where it does not say what it takes."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins
        return {}


def schedule_value(name: str, at: Callable[[Any], Any], count: Any) -> Any:
    """Return the value of a function of the count; raise unless it is a number, or an array for an
    array of counts.
    """
    try:
        value = at(count)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            problem = "a schedule is a function of one argument, the count of updates"
            raise TypeError(f"{name}: {problem}; {error}") from None
        raise
    if not isinstance(value, _ARRAYS) or isinstance(value, bool):
        raise ValueError(f"{name} must return a real number, got {show_leaf(value)}")
    return value


def check_untraced(name: str, value: Any) -> None:
    """Raise if a choice is traced; a seed may be a key, which can be."""
    if isinstance(value, Tracer) and not name.endswith(("seed", "key")):
        raise ArgumentError(
            f"{name} is compiled in, so it cannot be traced or mapped, got a traced "
            f"{show_leaf(value)}; make an optimizer for each value outside jit and vmap, as "
            f"sweep.grid(..., {name}=[...]) does"
        )


# --- before a call: one glance --------------------------------------------------------------------


def check_argument_order(name: str, updates: PyTree, state: PyTree, params: PyTree) -> None:
    """Raise if the arguments of an update are in another order than gradients, state, params."""
    for place, tree in (("first", updates), ("third", params)):
        if is_state(tree):
            raise ValueError(
                f"{name}: the {place} argument is a state; the order is tx.update(grads, state, "
                "params)"
            )
    if isinstance(state, Config):
        raise ValueError(
            f"{name}: the second argument must be the state, tx.init(params), got an optimizer"
        )


def check_params(where: str, params: PyTree) -> None:
    """Raise if what is given as parameters is an optimizer, a state, or no pytree of arrays
    at all.
    """
    problem = None
    if isinstance(params, Config):
        problem = "an optimizer"
    elif is_state(params):
        problem = "a state"
    elif params is None or is_no_tree(params):
        problem = (
            f"{show_leaf(params)}; for a Flax module pass variables['params'], for an Equinox "
            "module equinox.filter(model, equinox.is_inexact_array)"
        )
    elif (leaves := jax.tree.leaves(params)) and not any(map(is_inexact, leaves)):
        problem = (
            f"{show_leaf(leaves[0])} and no floating leaf, so nothing can be trained; write "
            "jnp.asarray(..., jnp.float32)"
        )
    if problem:
        raise ArgumentError(f"params must be a pytree of arrays, got {problem}", where)
    if untrained := _untrained_variable(params):
        raise ArgumentError(
            (
                f"params leaf {untrained}, which gradients do not train. Split the module, and "
                "pass the rest as aux:\n    graphdef, params, rest = nnx.split(model, "
                "nnx.Param, ...)\n    def loss_fn(params, rest, x, y): model = "
                "nnx.merge(graphdef, params, rest, copy=True); ...; return loss, "
                "nnx.state(model, nnx.Not(nnx.Param))\n    step = make_step(loss_fn, "
                "has_aux=True)  # or fit(..., aux=rest)"
            ),
            where,
        )


def _untrained_variable(params: PyTree) -> str | None:
    """Name the first Flax NNX variable that is not an `nnx.Param`: a running statistic, a dropout
    key.
    """
    nnx = sys.modules.get("flax.nnx")  # who has not imported it has none of its variables
    if nnx is None:
        return None
    for path, x in jax.tree_util.tree_leaves_with_path(
        params, is_leaf=lambda x: isinstance(x, nnx.Variable)
    ):
        if (
            isinstance(x, nnx.Variable)
            and not isinstance(x, nnx.Param)
            and type(x).__module__.startswith("flax.")
        ):
            return f"{path_string(path)!r} is a Flax NNX {type(x).__name__}"
    return None


# --- after a call has failed ----------------------------------------------------------------------


def explain_update(
    tx: Config,
    updates: PyTree,
    state: PyTree,
    params: PyTree,
    fresh: Iterator[PyTree],
    error: Exception,
) -> None:
    """Raise a clearer error than that of an update, if an argument is the reason; `fresh` are right
    states.
    """
    name = tx.definition.name
    _check_deleted(name, {"gradient": updates, "state": state, "params": params}, error)
    if params is not None:
        check_params(name, params)
    problem = _wrong_gradients(updates, params)
    if problem:
        raise ValueError(f"{name}: {problem}") from error
    check_arrays(name, {"gradient": updates, "state": state, "params": params}, error)
    if _strangers(updates, params):
        found = (
            error
            if isinstance(updates, (dict, list, tuple))
            else f"the gradients are {show_leaf(updates)}"
        )
        raise ValueError(
            f"{name}: {found}; they match no part of the params, {show_leaf(params)}. jax.grad "
            "differentiates with respect to the first argument: write loss_fn(params, ...), or "
            "jax.grad(loss_fn, argnums=...)"
        ) from error
    by_shape = params is not None and not isinstance(error, StateError)
    try:
        problems = [_wrong_state(state, expected, by_shape) for expected in fresh]
    except Exception:  # an init of the user's own failed too: the first error says more
        problems = [None]
    if all(problems) and jax.tree.structure(state) == jax.tree.structure(updates):
        raise StateError(
            f"{name}: the second argument is a tree like the gradients, not a state; the call is "
            f"{_UPDATE}, where the first state is tx.init(params)"
        ) from error
    if all(problems):  # or else the first error says what is wrong
        raise StateError(f"{name}: {problems[0]}") from error
    if problems[0]:  # a state of all params, of which some have no gradient
        absent = [
            path
            for path in leaf_paths(params, nothing_too=False)
            if path not in dict(_leaves(updates))
        ]
        error.add_note(
            f"these parameters have no gradient: {', '.join(absent)}; inside flatten every "
            "parameter needs one"
        )
    if isinstance(error, TypeError) and re.search(_AS_PYTHON, str(error)):
        error.add_note(
            "inside update arrays are traced, which NumPy, math and float() cannot compute with: "
            f"write jnp.sqrt, jnp.sign and so on{_own_line(error)}"
        )
    elif isinstance(error, _TRACED) or "can be converted to a scalar index" in str(error):
        error.add_note(_traced_numbers(tx, error))
    if isinstance(error, TypeError) and re.search(_TREE_ARITHMETIC, str(error)):
        error.add_note(
            "updates, params and the slots of a state are trees: write leafwise(rule, updates, "
            "state.mu), where rule(g, mu) handles one array at a time, or use jax.tree.map"
        )
    if not str(error).startswith(f"{name}:"):
        error.add_note(f"in an update of {name}")


def _traced_numbers(tx: Config, error: Exception) -> str:
    """Name the hyperparameters that may have been taken for Python numbers in an update."""
    numbers = tx.hyperparams
    # What cannot be an index was a number of times; else it was asked whether it is true.
    as_index = not isinstance(error, jax.errors.TracerBoolConversionError)
    whole = [path for path, value in numbers.items() if _is_whole(value)]
    named = (whole if as_index else []) or [*numbers]
    own = [path.rsplit("/", 1)[-1] for path in named]
    shown = f"{', '.join(own[:4])} {'is' if len(own) == 1 else 'are'} traced" if own else ""
    return (
        f"inside update {shown or 'a number is traced'}: use jnp.where or jax.lax.cond, or list "
        f'it in @transform(static=("{own[0] if own else "..."}",)), which compiles once for each '
        "value"
    )


def _own_line(error: Exception) -> str:
    """Return the line of the user's code in which an error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    if not own or not own[-1].line:  # of an interactive session
        return ""
    file, line = os.path.basename(own[-1].filename), own[-1].line
    return f" in line {own[-1].lineno} of {file}, `{line:.80}`"


def _is_whole(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and x == int(x)


def explain_apply(params: PyTree, updates: PyTree, error: Exception) -> None:
    """Raise a clearer error than the one of `apply_updates`, if an argument is the reason."""
    name, order = "apply_updates", "the order is apply_updates(params, updates)"
    if type(updates) is tuple and len(updates) == 2 and is_state(updates[1]):
        raise ValueError(
            f"{name}: got the pair that tx.update returns; write {_UPDATE} first"
        ) from error
    for what, tree in (("params", params), ("updates", updates)):
        if isinstance(tree, Config) or is_state(tree):
            found = "an optimizer" if isinstance(tree, Config) else "a state"
            raise ValueError(f"{name}: the {what} are {found}; {order}") from error
    if updates is None:
        raise ValueError(
            f"{name}: the updates are None, but the params are {show_leaf(params)}; {order}"
        ) from error
    _check_deleted(name, {"params": params, "update": updates}, error)
    check_arrays(name, {"update": updates}, error)


def _wrong_gradients(updates: PyTree, params: PyTree) -> str | None:
    """Say what the gradients are, if they are not gradients of the params."""
    if isinstance(updates, Config):
        return f"the gradients are an optimizer; the call is {_UPDATE}"
    called = getattr(updates, "__name__", None)
    if called is not None and is_no_tree(updates):
        return (
            f"the gradients are the function {called}, not called; write grads = "
            f"jax.grad({called})(params)"
        )
    own = jax.tree.structure(params, is_leaf=is_missing)
    if jax.tree.structure(updates, is_leaf=is_missing) == own or hasattr(params, "as_gradient"):
        return None
    if type(updates) is tuple and len(updates) == 2:
        first, second = updates
        if _is_number(first[0] if type(first) is tuple and first else first) and not _is_number(
            second
        ):
            return (
                "the gradients are a pair (value, gradients), as jax.value_and_grad returns; "
                "write value, grads = jax.value_and_grad(loss_fn)(params) and pass grads"
            )
        if params is not None and jax.tree.structure(first, is_leaf=is_missing) == own:
            return (
                "the gradients are a pair whose first part matches the params; write grads, aux "
                "= jax.grad(loss_fn, has_aux=True)(params) and pass grads"
            )
    if (
        params is None
        or jax.tree_util.all_leaves([params])
        or not (updates is None or _is_number(updates))
    ):
        return None
    found = "None" if updates is None else "one number (the loss?)"
    return (
        f"the gradients are {found}, but the params are {show_leaf(params)}; write grads = "
        "jax.grad(loss_fn)(params)"
    )


def _strangers(updates: PyTree, params: PyTree) -> bool:
    """Tell whether two trees have no path in common."""
    if params is None or hasattr(params, "as_gradient"):
        return False
    a, b = leaf_paths(updates), leaf_paths(params)
    return bool(a and b) and not set(a) & set(b)


def _wrong_state(state: PyTree, expected: PyTree, by_shape: bool) -> str | None:
    """Say why the state is not one that the transformation makes, perhaps by the shapes of its
    leaves too.
    """
    if outline(state) != outline(expected):
        if isinstance(state, (dict, list)):
            return (
                f"this state is a {type(state).__name__}, as if restored without a target; write "
                "state, report = transfer(state, tx, params), which restores its classes"
            )
        return (
            f"this state was not made by this optimizer: {first_difference(expected, state)}. "
            "Write state = tx.init(params) first, and again after changing the optimizer (even "
            "from a number to a schedule), or keep the moments with state, report = "
            "transfer(state, tx, params)"
        )
    if not by_shape:
        return None
    old, new = dict(_leaves(state)), dict(_leaves(expected))
    differ = [path for path in new if path in old and np.shape(old[path]) != new[path].shape]
    # what it has besides may be of params without a gradient
    lacking = [path for path in new if path not in old]
    sizes = {
        np.shape(old[path])[0] for path in differ if np.shape(old[path])[1:] == new[path].shape
    }
    if not lacking and len(differ) == len(new) and len(sizes) == 1:
        return (
            f"the state belongs to a population of {sizes.pop()}, but this is one optimizer; "
            "write jax.vmap(lambda tx, state: tx.update(grads, state, params))(population, "
            "states)"
        )
    if differ or lacking:
        where = (differ + lacking)[0]
        found, wanted = (
            show_leaf(tree[where]) if where in tree else "missing" for tree in (old, new)
        )
        return (
            f"the state was made for other parameters: its leaf {where!r} is {found}, but these "
            f"params need {wanted}. Write state = tx.init(params), or state, report = "
            "transfer(state, tx, params)"
        )
    return None


def _check_deleted(name: str, trees: dict[str, PyTree], error: Exception) -> None:
    """Raise if memory that was given away is the reason."""
    for what, tree in trees.items():
        for path, leaf in _leaves(tree):
            if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and leaf.is_deleted():
                raise RuntimeError(
                    f"{name}: {what} leaf {path!r} was donated: a compiled call with "
                    "donate_argnums reused its memory for the results. Continue with those, or "
                    "keep a copy, jax.tree.map(jnp.copy, params), before the call"
                ) from error


def check_arrays(name: str, trees: dict[str, PyTree], error: Exception) -> None:
    """Raise if a leaf that is not an array is the reason, and say how such leaves are left out."""
    for what, tree in trees.items():
        for path, leaf in _leaves(tree):
            is_array = isinstance(leaf, (*_ARRAYS, jax.ShapeDtypeStruct))
            # Of params what has no dtype is passed over; what has one is taken for an array.
            is_used = what != "params" or hasattr(leaf, "dtype")
            if is_used and not is_array and not hasattr(leaf, "__jax_array__"):
                kind = type(leaf).__name__ if hasattr(leaf, "dtype") else f"{show_leaf(leaf):.60}"
                problem = f"{what} leaf {path!r} is {kind}, not an array"
                remedy = (
                    "pass None for it, as eqx.filter(model, eqx.is_inexact_array) does for all "
                    "such leaves"
                )
                raise TypeError(f"{name}: {problem}; {remedy}") from error


def _leaves(tree: PyTree) -> Iterator[tuple[str, Any]]:
    return (
        (path_string(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    )


def _is_number(x: Any) -> bool:
    return isinstance(x, _ARRAYS) and np.ndim(x) == 0


def is_no_tree(x: Any) -> bool:
    """Tell whether a value is neither an array nor a container of JAX."""
    return not hasattr(x, "dtype") and not isinstance(x, _ARRAYS) and jax.tree_util.all_leaves([x])
