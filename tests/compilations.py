"""Count what JAX compiles: the one place of tests and benchmarks that imports a private name of JAX."""

from collections.abc import Callable
from contextlib import AbstractContextManager

# JAX has no public counter. A listener of jax.monitoring could count the event that each lowering records, but no
# document fixes that event's name: once renamed, it would count 0, and every test of "compiles nothing" would pass.
from jax._src import test_util


def count_lowerings() -> AbstractContextManager[Callable[[], int]]:
    """Count the functions lowered for the compiler in this thread: `with count_lowerings() as count: ...; count()`."""
    return test_util.count_jit_and_pmap_lowerings()
