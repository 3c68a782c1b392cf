"""Count what JAX compiles, and make it cheaper. Only this module of tests and benchmarks uses
private names of JAX.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import jax

# JAX has no public counter. A listener of jax.monitoring could count the event that each lowering
# records, but no document fixes that event's name: once renamed, it would count 0, and every test
# of "compiles nothing" would pass.
from jax._src import test_util, xla_bridge
from jax._src.interpreters import mlir, partial_eval
from jax.extend.backend import clear_backends


def count_lowerings() -> AbstractContextManager[Callable[[], int]]:
    """Count the functions lowered for the compiler in this thread: `with count_lowerings() as
    count: ...; count()`.
    """
    return test_util.count_jit_and_pmap_lowerings()


def what_makes(function: Callable[..., object], *args: object) -> str:
    """The program that makes the results of a function, without what else it computes: nothing is
    compiled.
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return str(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=False)[0])


def reached(function: Callable[..., object], *args: object) -> list[bool]:
    """Whether each leaf of the arguments has a part in the results of a function: nothing is
    compiled.
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=False)[1]


def reuse_contexts() -> None:
    """Lower ten programs in one context of MLIR, as JAX 0.12 does; before, each makes its own,
    which takes a sixth.
    """
    if jax.__version_info__ >= (0, 12):
        return
    thread, make = threading.local(), mlir.make_ir_context

    def reused():
        thread.uses = getattr(thread, "uses", -1) + 1
        if thread.uses % 10 == 0:
            thread.context = make()
        return thread.context

    mlir.make_ir_context = reused


def without_backend(run: Callable[[], object]) -> None:
    """Raise if `run` starts a backend; those that there are end before. For a process of
    its own.
    """
    clear_backends()
    run()
    if xla_bridge._backends:
        raise AssertionError(f"a backend was started: {list(xla_bridge._backends)}")
