"""An optimizer is data: the part that transformations and schedules share, as pytrees of their
hyperparameters.

A factory's call is split into numbers (the leaves of the pytree) and everything else (`Static`, its
metadata). Whenever functions are needed, the builder runs again on the numbers, which may be
concrete, traced or batched. This file says how such a call is compared, printed, read and edited by
path; `factory.py` makes and checks it, and its two kinds, `Schedule` and `GradientTransformation`,
say what it means.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.numerics import weak_typed
from optax_lite.core.show import layout, show_call
from optax_lite.core.validate import ArgumentError, unknown_argument
from optax_lite.errors.suggestions import attribute_hint


class Static:
    """The static half of a call: its factory, the order of its arguments, and those that are not
    numbers.

    It is the metadata of the pytree, so its equality decides whether a compiled program is reused.
    """

    __slots__ = ("_key", "choices", "factory", "names", "order")

    def __init__(self, factory: Any, order: tuple[str, ...], choices: dict[str, Any]):
        self.factory, self.order, self._key = factory, order, None
        self.names = tuple([name for name in order if name not in choices]) if choices else order
        self.choices = {name: _snapshot(value) for name, value in choices.items()}

    @property
    def key(self) -> tuple:
        if self._key is None:  # not its hash: that of a string is another one in the next process
            self._key = (
                self.factory,
                self.names,
                tuple((k, hashable(v)) for k, v in self.choices.items()),
            )
        return self._key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Static) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self):
        return Static, (self.factory, self.order, self.choices)


# Its owner may edit a mask tree later, which must not change the optimizer (decision 4).
def _snapshot(value: Any) -> Any:
    """Copy a static choice, so that a mask tree that its owner edits later does not change an
    optimizer.
    """
    try:
        hash(value)
        return value
    except TypeError:

        def copied(x):  # in a trace only numpy's arrays can be compared
            is_known = isinstance(x, jax.Array) and not isinstance(x, Tracer) and not is_key(x)
            return np.array(x) if is_known or isinstance(x, np.ndarray) else x

        return jax.tree.map(copied, value, is_leaf=lambda x: x is None)


def hashable(value: Any) -> Any:
    """Return a static choice in a form that can be hashed and compared, a tree by its structure and
    leaves.
    """
    try:
        hash(value)
        return value
    except TypeError:
        leaves, treedef = jax.tree.flatten(value, is_leaf=lambda x: x is None)
        arrays = [isinstance(x, (np.ndarray, np.generic, jax.Array)) for x in leaves]
        return treedef, tuple(
            _value_key(x) if array else x for x, array in zip(leaves, arrays, strict=True)
        )


def _value_key(x: Any) -> Any:
    """Return what equality of a hyperparameter compares: its value, or its id if it is traced."""
    if isinstance(x, Tracer):
        return id(x)
    if isinstance(x, np.generic):  # numpy takes a tuple for an array, and compares entries
        return x.item()
    if isinstance(x, (np.ndarray, jax.Array)):
        return (
            str(x.dtype),
            x.shape,
            np.asarray(jax.random.key_data(x) if is_key(x) else x).tobytes(),
        )
    return x


_set = object.__setattr__  # a call cannot be changed


@jax.tree_util.register_static
class Word(str):
    """A word among the numbers of a tuple; static."""


class Config:
    """A factory called with hyperparameters: a pytree of the numbers, read and edited by path,
    equal by value.

    Everything that is not a number (a flag, a dtype, a mask, the factory itself) is part of the
    tree's structure, so that JAX's functions see through it: `jax.tree.map` edits the numbers
    (unchecked), `jax.jit` takes it as an argument, `jax.vmap` and `jax.grad` run over it. Schedules
    and members of a chain are such calls too, nested.
    """

    # Kept in `__dict__`: a class with slots could not stand beside optax's (decision 59).
    _static: Static
    _values: tuple  # numbers, schedules and members, in the order of `_static.names`
    # what the builder returned, and in which use, where another builder made this to be used
    _built_in_use: Any

    # what a builder of this kind returns, and what makes it a factory, in words
    _builds = _decorator = ""
    _has_fields = False  # of its own, as a user's subclass has, which declares no slots

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if vars(cls).get("__slots__"):
            raise TypeError(f"{cls.__name__}: its fields are kept in __dict__; leave out __slots__")
        cls._has_fields = "__slots__" not in vars(cls)
        jax.tree_util.register_pytree_with_keys(
            cls, cls._flatten_with_keys, cls._unflatten, cls._flatten
        )

    @classmethod
    def _is_built(cls, built: Any) -> bool:
        raise NotImplementedError

    @classmethod
    def adopt(cls, value: Any) -> Self | None:
        """Convert `value` where it means one of this kind: a plain function for a schedule, a
        foreign pair.

        Args:
            value: Anything.

        Returns:
            The call, or None where `value` means none.
        """
        raise NotImplementedError

    @classmethod
    def _make(cls, static: Static, values: tuple, built: Any = None) -> Self:
        self = object.__new__(cls)
        _set(self, "_static", static)
        _set(self, "_values", values)
        _set(self, "_built_in_use", built)
        return self

    @classmethod
    def copy_of(
        cls, call: "Config", change: Callable[[str, Any], Any] = lambda name, value: value
    ) -> Self:
        """Return the call as one of this class, with its arguments changed.

        Args:
            call: The call to copy.
            change: Function `(name, value)` that returns the new value of an argument; static
                choices are kept.
        """
        return cls._make(call._static, tuple(map(change, call._static.names, call._values)))

    def _flatten(self):
        if not self._has_fields:
            return self._values, self._static
        fields = {k: v for k, v in vars(self).items() if k not in Config.__annotations__}
        return self._values, (self._static, *fields.items()) if fields else self._static

    def _flatten_with_keys(self):
        values, static = self._flatten()
        return tuple(
            zip(map(jax.tree_util.GetAttrKey, self._static.names), values, strict=True)
        ), static

    @classmethod
    def _unflatten(cls, static, values):
        static, *fields = static if isinstance(static, tuple) else (static,)
        made = cls._make(static, tuple(values))
        for name, value in fields:
            _set(made, name, value)
        return made

    # --- what it is made of

    @property
    def factory(self) -> Any:
        """Return the factory that was called."""
        return self._static.factory

    @property
    def definition(self) -> Any:
        """Return the definition of that factory: its builder, and what is declared of its calls."""
        return self._static.factory.definition

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the call by name, in the order of its signature, static ones
        included.
        """
        given = dict(zip(self._static.names, self._values, strict=True)) | self._static.choices
        return {name: given[name] for name in self._static.order}

    @property
    def choices(self) -> Mapping[str, Any]:
        """Return the static arguments by name."""
        return MappingProxyType(self._static.choices)

    def walk(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield (path, value) of every argument, numbers and static choices, members' included."""

        def below(path, value):
            for name, child in _children(value):
                yield (*path, name), child
                if not (isinstance(value, Config) and name in value.choices):
                    yield from below((*path, name), child)

        return below((), self)

    def calls(self) -> Iterator["Config"]:
        """Yield this call and every one in it, from the outside in."""
        yield self
        yield from (value for _, value in self.walk() if isinstance(value, Config))

    def _as_seen(self, *, in_use: bool) -> dict[str, Any]:
        """Return the arguments as the builder sees them: members as functions, and numbers weakly
        typed in use.
        """

        def one(value):
            if type(value) is float:
                return weak_typed(value) if in_use else value
            if isinstance(value, Config):
                return value._inside(in_use=in_use)
            if type(value) is tuple:
                return tuple(map(one, value))
            if type(value) is dict:
                return {k: one(v) for k, v in value.items()}
            return weak_typed(value) if in_use and is_number(value) and not is_key(value) else value

        return (
            dict(zip(self._static.names, map(one, self._values), strict=True))
            | self._static.choices
        )

    def _inside(self, *, in_use: bool) -> Any:
        """Return what a builder gets for it."""
        return self

    def _outside(self) -> "Config":
        """Return what this is as an argument of another call."""
        return self

    # --- equality, printing, pickling

    def _key(self) -> tuple:
        leaves, treedef = jax.tree.flatten(self)  # the treedef knows the type
        return treedef, tuple(map(_value_key, leaves))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Config) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self):
        values, static = self._flatten()  # with the fields of a user's subclass
        return type(self)._unflatten, (static, values)

    if not TYPE_CHECKING:  # a checker would take any name for an attribute

        def __setattr__(self, name: str, value: Any):
            if self._has_fields and name not in self._static.names:
                return _set(self, name, value)
            raise AttributeError(
                f"{self.definition.name} cannot be changed in place; write "
                f"tx = tx.replace({name}=...)"
            )

        def __getattr__(self, name: str):
            own = type(self).__name__ if name == "_static" else self._static.factory.definition.name
            hint = "" if name.startswith("_") else f"; {attribute_hint(name, self._static.names)}"
            raise AttributeError(f"{own} has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        return show_call(self)

    def __str__(self) -> str:
        return layout(self)

    # --- reading and editing

    @property
    def hyperparams(self) -> Mapping[str, Any]:
        """Return every number by path, in the order of the signature: {'learning_rate': 0.001,
        ...}; in a chain '1/b1'.

        A schedule's numbers are below its name: 'learning_rate/decay_steps'. It is read-only;
        `replace` edits.
        """
        return MappingProxyType(
            {"/".join(path): value for path, value in self.walk() if is_number(value)}
        )

    def replace(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """Return the same call with other values.

            tx.replace(learning_rate=3e-4)
            tx.replace({"1/learning_rate/peak_value": 3e-4})

        The structure is kept while a number replaces a number, so that a compiled step is reused; a
        schedule for a number is another optimizer, with another state. In a population (leaves of
        shape (n,)) a scalar goes to every member, and an array of shape (n,) gives each its own.

        Args:
            changes: New values by path as in `hyperparams`, or by the end of a path where only one
                path ends so.
            **more: New values by name.

        Raises:
            ArgumentError: If a name is unknown or means several arguments, or if a value fails the
                checks that the factory makes.
        """
        if changes is not None and not isinstance(changes, Mapping):
            raise TypeError(
                f"{self.definition.name}.replace: name the argument, as in "
                f"replace(learning_rate={changes!r})"
            )
        new = self
        for path, value in {**(changes or {}), **more}.items():
            new = new.edit(new.find(path), value)
        new._check()
        return new

    def find(self, name: str) -> tuple[str, ...]:
        """Find the one argument of this path, or else the one whose path has this end.

        Args:
            name: A path as in `hyperparams`, or the end of one.

        Returns:
            The path as a tuple of names.
        """
        known = {parts: "/".join(parts) for parts, _ in self.walk()}
        exact = [parts for parts, text in known.items() if text == name]
        hits = exact or [parts for parts, text in known.items() if text.endswith("/" + name)]
        if len(hits) != 1:
            several = (
                f"several arguments are called {name!r}: {', '.join(known[p] for p in hits)}; "
                "write the full path"
            )
            problem = several if hits else unknown_argument(name, known.values())
            raise ArgumentError(problem, f"{self.definition.name}.replace")
        return hits[0]

    def edit(self, path: tuple[str, ...], value: Any) -> Self:
        """Put another value at a path, without the checks of `replace`.

        Args:
            path: Names from the outside in, as `find` returns them.
            value: The new value.
        """
        (name, *rest), static, values = path, self._static, list(self._values)
        if name in static.names:
            index = static.names.index(name)
            value = value if rest else static.factory.definition.binding.adapted(name, value)
            where = f"{self.definition.name}.replace: {'/'.join(path)}"
            values[index] = _edit(values[index], tuple(rest), value, where, self.definition.as_data)
        else:
            static = Static(static.factory, static.order, {**static.choices, name: value})
        return self._make(static, tuple(values))

    def _check(self) -> None:
        """Run the checks of the builders, members' first; ranges in a population are up to its
        maker.
        """
        if any(np.ndim(x) for x in jax.tree.leaves(self)):
            return
        this, *inside = self.calls()
        for call in (*inside, this):
            call.definition.check(call)


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Config):
        return list(value.arguments.items())
    if isinstance(value, tuple) and type(value) is tuple:
        return [(str(i), v) for i, v in enumerate(value)]
    if type(value) is dict:
        return [(str(k), v) for k, v in value.items()]
    return []


def _edit(
    old: Any, path: tuple[str, ...], value: Any, where: str, convert: Callable[[str, Any], Any]
) -> Any:
    if not path:
        if is_number(old) and (np.ndim(value) > 0 or np.ndim(old) > 0):
            return _broadcast(value, old, where)
        new = convert(where, value)
        # As `jax.tree.map(jnp.asarray, tx)` made it, for a jit that compiles for each float.
        kept = type(new) is float and isinstance(old, jax.Array) and not isinstance(old, Tracer)
        return jax.lax.full_like(old, new) if kept else new
    if isinstance(old, Config):
        return old.edit(path, value)
    edited = {
        k: _edit(v, path[1:], value, where, convert) if k == path[0] else v
        for k, v in _children(old)
    }
    return (
        dict(zip(old, edited.values(), strict=True))
        if isinstance(old, dict)
        else tuple(edited.values())
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (float, np.ndarray, jax.Array))


def is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _broadcast(value: Any, old: Any, where: str) -> Any:
    """Return a value, or one for each member, in the form of the values of a population."""
    if not isinstance(value, (int, float, list, tuple, np.ndarray, np.number, jax.Array)):
        raise ArgumentError(
            f"must be a number or an array of shape {np.shape(old)}, got {value!r}", where
        )
    if np.shape(value) not in ((), np.shape(old)) or np.ndim(old) == 0:
        raise ArgumentError(f"shape {np.shape(value)} cannot replace shape {np.shape(old)}", where)
    weaken = weak_typed
    for _ in np.shape(old):
        # as the other members' numbers are, so that nothing compiles again
        weaken = jax.vmap(weaken)
    return weaken(jnp.broadcast_to(jnp.asarray(np.asarray(value), old.dtype), old.shape))
