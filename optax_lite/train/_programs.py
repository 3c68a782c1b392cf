"""Programs compiled from users' functions, which live as long as these: a function may close over a
whole data set.
"""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax


class Program(NamedTuple):
    """A compiled program and its function, which whoever calls the program keeps alive."""

    function: Callable[..., Any]
    run: Any  # the jitted `body(function, ...)`

    def __call__(self, *args: Any) -> Any:
        return self.run(*args)


class Programs:
    """Compile `body(function, *args)` once for each function, and forget it with the function.

    As a static argument of one jit the function would be kept by JAX's caches for ever.
    """

    def __init__(self, body: Callable[..., Any], **options: Any):
        # of jax.jit, which counts arguments without the function
        self.body, self.options = (body, options)
        self.known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def of(self, function: Callable[..., Any]) -> Program:
        function = as_key(function)
        if function not in self.known:
            # Weak, so that the program does not keep the loss, which may close over a whole data
            # set (decision 44).
            one = weakref.ref(function)
            self.known[function] = (
                one,
                jax.jit(lambda *args: self.body(one(), *args), **self.options),
            )
        one, run = self.known[function]
        # of equal ones, as two `model.loss` are, the one that was compiled
        return Program(one(), run)


def as_key(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, or a caller of it where it cannot be a key: a module compares by value,
    so one object is one key.
    """
    try:
        hash(function)
        weakref.ref(function)
    except TypeError:
        return partial(function)
    return function
