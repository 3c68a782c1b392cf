"""An optimizer is data: what transformations and schedules share as pytrees of their hyperparameters.

A factory's call is taken apart into numbers (the leaves of the pytree) and all else (a `Call`, its metadata), and
put together again by running the builder on the numbers, whenever functions are needed: eagerly, traced or batched.
What this file knows is how such a call is made, checked, compared, printed, read and edited by path; what it means is
told by its two kinds, `Schedule` and `GradientTransformation`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.binding import Binding
from optax_lite.check import ArgumentError, check_held, check_shared, shared_names, unknown_argument
from optax_lite.floats import as_limit, lost
from optax_lite.habits import attribute_hint, own_name
from optax_lite.leaves import weak
from optax_lite.order import check_inside


class Call:
    """The static half of an optimizer: which factory made it, the names of its data, its static choices.

    It is the metadata of the pytree, so its equality decides whether a compiled program is used again.
    """

    __slots__ = ("_key", "factory", "names", "static")

    def __init__(self, factory: Any, names: tuple[str, ...], static: dict[str, Any]):
        self.factory, self.names, self._key = factory, names, None
        self.static = {name: _snapshot(value) for name, value in static.items()}

    @property
    def key(self) -> tuple:
        if self._key is None:  # not its hash: that of a string is another one in the next process
            self._key = (self.factory, self.names, tuple((k, hashable(v)) for k, v in self.static.items()))
        return self._key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Call) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self):
        return Call, (self.factory, self.names, self.static)

    def build(self, values: tuple) -> Any:
        """Run the builder; what goes wrong in it is told with the factory's name."""
        arguments = dict(zip(self.names, values, strict=True)) | self.static
        args, kwargs = self.factory.binding.split(arguments)
        try:
            if self.factory.checked:
                check_shared({name: arguments[name] for name in self.factory.checked})
            check_inside(self.name, arguments, _children)
            return self.factory.builder(*args, **kwargs)
        except ArgumentError as error:
            (name, value), own = error.about, own_name(*error.about, arguments)
            raise ArgumentError(error.problem.replace(name, own, 1), self.name, (own, value)) from None
        except jax.errors.ConcretizationTypeError as error:
            error.add_note(f"{self.name}: a hyperparameter may be traced: use jnp.where, or name the choice in static=")
            raise
        except (AttributeError, TypeError) as error:
            error.add_note(f"{self.name} was called with {', '.join(f'{k}={_show(v)}' for k, v in arguments.items())}")
            raise

    @property
    def name(self) -> str:
        return self.factory.__name__.lstrip("_")


def _snapshot(value: Any) -> Any:
    """A static choice as it is now: a mask tree that its owner edits later must not change an optimizer."""
    try:
        hash(value)
        return value
    except TypeError:
        return jax.tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, value, is_leaf=lambda x: x is None)


def hashable(value: Any) -> Any:
    """A static choice as something that can be hashed and compared, a tree by its structure and leaves."""
    try:
        hash(value)
        return value
    except TypeError:
        leaves, treedef = jax.tree.flatten(value, is_leaf=lambda x: x is None)
        arrays = [isinstance(x, (np.ndarray, jax.Array)) for x in leaves]
        return treedef, tuple(_value_key(x) if array else x for x, array in zip(leaves, arrays, strict=True))


def _value_key(x: Any) -> Any:
    """What equality of a hyperparameter means: the value where there is one, the object where it is traced."""
    if isinstance(x, Tracer):
        return id(x)
    if isinstance(x, (np.ndarray, jax.Array)):
        return str(x.dtype), x.shape, np.asarray(jax.random.key_data(x) if is_key(x) else x).tobytes()
    return x


@jax.tree_util.register_static
class Word(str):
    """A word among the numbers of a tuple; static."""


class Configured:
    """A factory called with hyperparameters: a pytree of the numbers, read and edited by path, equal by value.

    What is no number (a flag, a dtype, a mask, the factory itself) is part of the tree's structure. So the functions of
    JAX see through it: `jax.tree.map` edits the numbers (unchecked), `jax.jit` takes it as an argument, `jax.vmap` and
    `jax.grad` run over it. Schedules and members of a chain are such calls too, nested.
    """

    __slots__ = ("__weakref__", "_call", "_inner", "_values")
    _call: Call
    _values: tuple
    _inner: bool

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        jax.tree_util.register_pytree_with_keys(cls, cls._flatten_with_keys, cls._unflatten, cls._flatten)

    _built = _decorator = ""  # what a builder of this kind returns, and what makes it a factory, in words

    @classmethod
    def _is_built(cls, built: Any) -> bool:
        raise NotImplementedError

    @classmethod
    def _adopt(cls, value: Any) -> Self | None:
        """`value` as one of us where it means one: a plain function as a schedule, a foreign pair."""
        raise NotImplementedError

    @classmethod
    def _make(cls, call: Call, values: tuple, inner: bool = False) -> Self:
        self = object.__new__(cls)
        for name, value in (("_call", call), ("_values", values), ("_inner", inner)):
            object.__setattr__(self, name, value)
        return self

    def __setattr__(self, name: str, value: Any):
        raise AttributeError(f"{self._call.name} cannot be changed in place; write tx = tx.replace({name}=...)")

    def _flatten(self):
        return self._values, (self._call, self._inner)

    def _flatten_with_keys(self):
        keys = map(jax.tree_util.GetAttrKey, self._call.names)
        return tuple(zip(keys, self._values, strict=True)), (self._call, self._inner)

    @classmethod
    def _unflatten(cls, aux, values):
        return cls._make(aux[0], tuple(values), aux[1])

    # --- equality, printing, pickling

    def _key(self) -> tuple:
        leaves, treedef = jax.tree.flatten(self)  # the treedef knows the type
        return treedef, tuple(map(_value_key, leaves))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Configured) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self):
        return type(self)._make, (self._call, self._values, self._inner)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str):
            own = type(self).__name__ if name == "_call" else self._call.name
            hint = "" if name.startswith("_") else f"; {attribute_hint(name, self._call.names)}"
            raise AttributeError(f"{own} has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        given = dict(zip(self._call.names, self._values, strict=True)) | self._call.static
        parameters = self._call.factory.signature.parameters
        order = [name for name in parameters if name in given] + [name for name in given if name not in parameters]
        shown = []
        for name in order:
            value, parameter = given[name], parameters.get(name)
            is_default = parameter is not None and value is parameter.default
            if isinstance(value, (float, Configured)) or not is_default:
                shown.append(_show(value) if name.isdigit() else f"{name}={_show(value)}")
        return f"{self._call.name}({', '.join(shown)})"

    # --- reading and editing

    @property
    def hyperparams(self) -> Mapping[str, Any]:
        """Every number by path, in the order of the signature: {'learning_rate': 0.001, ...}; in a chain '1/b1'.

        A schedule's numbers stand below its name: 'learning_rate/decay_steps'. To read; `replace` edits.
        """
        return MappingProxyType({"/".join(path): value for path, value in self._arguments() if _is_number(value)})

    def _arguments(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Every argument by its path, numbers and static choices, own ones and those of members."""

        def walk(path, value):
            for name, child in _children(value):
                yield (*path, name), child
                yield from walk((*path, name), child)

        return walk((), self)

    def replace(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """The same with other values; keys are paths as in `hyperparams`, or their ends where only one path ends so.

            tx.replace(learning_rate=3e-4)
            tx.replace({"1/learning_rate/peak_value": 3e-4})

        The structure stays while a number replaces a number, so that a compiled step is used again; a schedule for a
        number is another optimizer, with another state. Values are checked as when it was built. In a population
        (leaves of shape (n,)) a scalar goes to every member, and an array of shape (n,) gives each its own.
        """
        if changes is not None and not isinstance(changes, Mapping):
            raise TypeError(f"{self._call.name}.replace: write the name, as in replace(learning_rate={changes!r})")
        new = self
        for path, value in {**(changes or {}), **more}.items():
            new = new._with(new._find(path), value)
        new._check()
        return new

    def _find(self, path: str) -> tuple[str, ...]:
        known = {parts: "/".join(parts) for parts, _ in self._arguments()}
        exact = [parts for parts, text in known.items() if text == path]
        hits = exact or [parts for parts, text in known.items() if text.endswith("/" + path)]
        if len(hits) != 1:
            several = f"several arguments are called {path!r}: {', '.join(known[p] for p in hits)}; write the path"
            problem = several if hits else unknown_argument(path, known.values())
            raise ArgumentError(problem, f"{self._call.name}.replace")
        return hits[0]

    def _with(self, path: tuple[str, ...], value: Any) -> Self:
        name, rest = path[0], path[1:]
        call, values = self._call, list(self._values)
        if name in call.names:
            index = call.names.index(name)
            value = as_limit(value) if name in call.factory.binding.limits and not rest else value
            values[index] = _edit(values[index], rest, value, f"{call.name}.replace: {'/'.join(path)}")
        else:
            call = Call(call.factory, call.names, {**call.static, name: value})
        return self._make(call, tuple(values), self._inner)

    def _check(self) -> None:
        """Run the checks of the builders, members' first; the ranges in a population are its maker's business.

        A builder is run for its checks alone here, and what it returns is dropped.
        """
        if any(np.ndim(x) for x in jax.tree.leaves(self)):
            return
        for _, value in self._arguments():
            if isinstance(value, Configured):
                value._call.build(value._values)
        self._call.build(self._values)


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Configured):
        given = dict(zip(value._call.names, value._values, strict=True)) | value._call.static
        order = value._call.factory.signature.parameters
        return sorted(given.items(), key=lambda kv: list(order).index(kv[0]) if kv[0] in order else -1)
    if isinstance(value, tuple) and type(value) is tuple:
        return [(str(i), v) for i, v in enumerate(value)]
    if type(value) is dict:
        return [(str(k), v) for k, v in value.items()]
    return []


def _edit(old: Any, path: tuple[str, ...], value: Any, where: str) -> Any:
    if not path:
        is_array = _is_number(old) and (np.ndim(value) > 0 or np.ndim(old) > 0)
        return _broadcast(value, old, where) if is_array else as_data(where, value)
    if isinstance(old, Configured):
        return old._with(path, value)
    edited = {k: _edit(v, path[1:], value, where) if k == path[0] else v for k, v in _children(old)}
    return dict(zip(old, edited.values(), strict=True)) if isinstance(old, dict) else tuple(edited.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (float, np.ndarray, jax.Array))


def is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _broadcast(value: Any, old: Any, where: str) -> Any:
    """A value, or one for each member, in place of the values of a population."""
    if not isinstance(value, (int, float, list, tuple, np.ndarray, np.number, jax.Array)):
        raise ArgumentError(f"must be a number, or one for each of {np.shape(old)}, got {value!r}", where)
    if np.shape(value) not in ((), np.shape(old)) or np.ndim(old) == 0:
        raise ArgumentError(f"shape {np.shape(value)} cannot replace shape {np.shape(old)}", where)
    weaken = weak
    for _ in np.shape(old):
        weaken = jax.vmap(weaken)  # as the other members' numbers are, so that nothing compiles again
    return weaken(jnp.broadcast_to(jnp.asarray(np.asarray(value), old.dtype), old.shape))


def _show(value: Any) -> str:
    if isinstance(value, Tracer):
        return f"<traced {value.aval.str_short()}>"
    if isinstance(value, (np.ndarray, jax.Array)):
        return f"<{value.dtype}{list(value.shape)}>" if value.ndim else str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_show, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_show(v)}" for k, v in value.items()) + "}"
    return (
        getattr(value, "__qualname__", repr(value))
        if callable(value) and not isinstance(value, Configured)
        else repr(value)
    )


# --- from a call to data ---------------------------------------------------------------------------------------------


def as_data(name: str, value: Any) -> Any:
    """An argument as data: a float where it is concrete, a weakly typed scalar where it is traced, or a composite.

    Ints, numpy scalars and arrays of shape () become Python floats, so that `adam(1)` and `adam(1.0)` are equal and
    compile once; a plain function becomes a schedule, a pair of functions a transformation.
    """
    if value is None or isinstance(value, Configured):
        return value
    if lost(value):
        check_held(**{name: value})
    if type(value) is float:
        return value
    if hasattr(value, "builder"):
        raise ArgumentError(f"{name} is the factory {value.__name__} itself; call it: {value.__name__}(...)")
    for kind in Configured.__subclasses__():
        if (adopted := kind._adopt(value)) is not None:
            return adopted
    if isinstance(value, (tuple, list)):
        return tuple(Word(v) if isinstance(v, str) else as_data(f"{name}/{i}", v) for i, v in enumerate(value))
    if isinstance(value, Mapping):
        return {k: as_data(f"{name}/{k}", v) for k, v in value.items()}
    return _as_number(name, value)


def _as_number(name: str, value: Any) -> Any:
    if not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)) or isinstance(value, bool):
        raise ArgumentError(f"{name} must be a number or a schedule, got {value!r}")
    if np.ndim(value) != 0:
        raise ArgumentError(
            f"{name} has shape {np.shape(value)}: for a population of {np.shape(value)[0]}, use jax.vmap; parameters "
            "go to tx.init(params)"
        )
    if is_key(value):
        return value
    if isinstance(value, Tracer):
        return weak(value)
    if isinstance(value, complex) or np.iscomplexobj(value):
        raise ArgumentError(f"{name} must be real, got {value!r}")
    return as_data(name, float(value))


def is_scalar(value: Any) -> bool:
    """Whether data is a number or a schedule: no transformation, tuple, dict or None."""
    return _is_number(value) or (isinstance(value, Configured) and callable(value))


def weak_scalars(tx: Configured) -> tuple:
    """The values of an optimizer as its builder may see them: every number weakly typed and of shape ().

    That makes an eager call, a jitted one and one that takes the optimizer as an argument the same program, to the bit.
    A number of another shape is a population that somebody forgot to `vmap` over.
    """

    def one(path, x):
        if np.ndim(x) != 0:
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            vmapped = "jax.vmap(lambda tx, state: tx.update(grads, state, params))(population, states)"
            problem = f"{where} has shape {np.shape(x)}: this is a population of {len(x)}; use jax.vmap over it"
            raise ArgumentError(f"{problem}, as in {vmapped}", tx._call.name)
        return x if is_key(x) else weak(x)

    return jax.tree_util.tree_map_with_path(one, tx)._values


def as_factory(kind: type[Configured], builder: Callable, static: tuple[str, ...], own_range: Any = None) -> Callable:
    """A factory: the builder's signature, a call of which checks the arguments and returns them as data of a kind.

    The builder runs once here, for its checks alone; what it returns is made again for every init and update, since by
    then its numbers may be traced. Arguments with a name that methods share are checked too, save those in `own_range`
    (None: none are).
    """
    if not callable(builder):
        raise TypeError(f"{kind._decorator}: the builder must be a function, got {builder!r}")
    binding = Binding(builder)
    parameters = binding.parameters
    names = {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    statics = set(static) | {p.name for p in parameters if isinstance(p.default, (bool, str))}
    if unknown := sorted(statics - names.keys()):
        raise ValueError(f"{builder.__name__}: static= names {', '.join(unknown)}, which are no arguments of it")

    @functools.wraps(builder)
    def factory(*args, **kwargs):
        try:
            for name in kwargs:
                if name not in names and not binding.takes_any_name:
                    raise ArgumentError(unknown_argument(name, names))
            given, data, choices = binding.bound(args, kwargs), {}, {}
            for p in parameters:
                value = given[p.name]
                if p.kind is p.VAR_POSITIONAL:
                    data |= {str(i): as_data(f"argument {i}", v) for i, v in enumerate(value)}
                elif p.kind is p.VAR_KEYWORD:
                    data |= {k: as_data(k, v) for k, v in value.items()}
                elif (p.name in statics and not is_key(value)) or (
                    isinstance(value, str) and str in get_args(p.annotation)
                ):
                    is_flag = p.name not in static and isinstance(p.default, bool)
                    if is_flag and not isinstance(value, (bool, np.bool_)):
                        raise ArgumentError(f"{p.name} must be True or False, got {value!r}")
                    choices[p.name] = value
                else:
                    data[p.name] = as_data(p.name, as_limit(value) if p.name in binding.limits else value)
                    if value is None and (p.default is None or type(None) in get_args(p.annotation)):
                        continue
                    if value is None or (isinstance(p.default, (int, float)) and not is_scalar(data[p.name])):
                        raise ArgumentError(f"{p.name} must be a number or a schedule, got {value!r}")
        except ArgumentError as error:
            raise ArgumentError(error.problem, builder.__name__.lstrip("_")) from None
        call = Call(factory, tuple(data), choices)
        built = call.build(tuple(data.values()))
        if not kind._is_built(built):
            raise TypeError(f"{call.name}: the builder must return {kind._built}, got {built!r}")
        return kind._make(call, tuple(data.values()))

    made: Any = factory
    made.builder, made.signature, made.binding = builder, binding.signature, binding
    made.checked = shared_names([] if own_range is None else names.keys() - set(own_range))
    return made
