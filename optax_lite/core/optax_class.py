"""Make `isinstance` recognize our transformations as optax's where optax is imported.

optax's combinators pass extra arguments to optax's own class alone, and frameworks take no other.
`isinstance(x, C)` looks at `x.__class__` if `type(x)` is no `C` (decision 59).
"""

import functools
import sys


def class_for_isinstance(own: type) -> type:
    """Return the `__class__` of objects of this type: the type, or a class that derives from it and
    from optax's.
    """
    optax = sys.modules.get("optax")  # without the name while it is being imported
    theirs = getattr(optax, "GradientTransformationExtraArgs", None)
    return own if theirs is None else _both(own, theirs)


class _NoTuple(type):
    """Leave `tuple` out of what a class derives from: our pair is no sequence, as optax's is."""

    def mro(cls):
        return [base for base in super().mro() if base is not tuple]


@functools.cache
def _both(own: type, theirs: type) -> type:
    """Return a class that derives from both; nothing is ever made of it."""
    kind = type("_NoTuple", (_NoTuple, type(own)), {})
    return kind(own.__name__, (own, theirs), {"__slots__": (), "__module__": own.__module__})
