"""Run stricter than users do: strict dtype and rank promotion, warnings as errors, eight host
devices.
"""

import atexit
import functools
import gc
import os
import platform
import re
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

# Thousands of small programs are compiled here and run once or twice, so that what counts is the
# time to compile them: without optimizations, in one piece, and with XLA's older code generator,
# each of which saves a quarter to a half. USERS_CODE_GENERATOR=1 compiles as users do. An XLA ends
# the process over a flag that it does not know (decision 55).
AS_USERS_DO = "USERS_CODE_GENERATOR" in os.environ
FLAGS = ["--xla_force_host_platform_device_count=8"]
if not AS_USERS_DO:
    FLAGS += ["--xla_cpu_parallel_codegen_split_count=1"]
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
# Added to the caller's flags, not instead of them; a flag that the caller sets wins.
GIVEN = os.environ.get("XLA_FLAGS", "").split()
NAMED = {flag.partition("=")[0] for flag in GIVEN}
os.environ["XLA_FLAGS"] = " ".join(
    GIVEN + [flag for flag in FLAGS if flag.partition("=")[0] not in NAMED]
)
# For the workers of xdist: memory that is freed stays theirs, as the next program needs it again.
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
os.environ.setdefault("MALLOC_TOP_PAD_", str(2**26))

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compilations import reuse_contexts

CPUINFO = Path("/proc/cpuinfo")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", not AS_USERS_DO)
# nobody reads the locations in the programs
jax.config.update("jax_traceback_in_locations_limit", 0)
# Programs are kept in the virtual environment for the next run, those of each kind of processor by
# themselves.
PROCESSOR = (
    re.search("^(?:flags|Features).*$", CPUINFO.read_text(), re.MULTILINE)
    if CPUINFO.exists()
    else None
)
FOLDER = f"{zlib.crc32(PROCESSOR[0].encode()):08x}" if PROCESSOR else platform.machine()
jax.config.update("jax_compilation_cache_dir", str(Path(sys.prefix) / "compiled" / FOLDER))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# JAX's caches are a large heap, and nearly none of it is garbage
gc.set_threshold(100_000, 20, 100)
reuse_contexts()

MAPS = Path("/proc/self/maps")
# Of the 65,530 that Linux allows a process; a compiled program keeps a few (decision 56).
MOST_MAPS = 30_000


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def eight_devices():
    """Skip a test where the caller's flags or machine give fewer."""
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices: XLA_FLAGS=--xla_force_host_platform_device_count=8")


@functools.cache
def has_float16():
    """Whether XLA can compile float16: for a processor without conversions (F16C) its CPU backend
    lacks a routine.
    """
    try:
        jax.jit(lambda x: x.astype(jnp.float32))(np.ones(1, np.float16))
    except jax.errors.JaxRuntimeError:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that needs float16 where XLA has none."""
    try:
        return (yield)
    except jax.errors.JaxRuntimeError as error:
        if "Failed to materialize symbols" in str(error) and not has_float16():
            pytest.skip("XLA has no float16 on this processor")
        raise


def without_nightly(config):
    return config.option.markexpr == "not nightly"


def is_nightly(marks):
    return any(mark.name == "nightly" for mark in marks)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, obj):
    """Make no items of a nightly test only to deselect them: more than half of all are nightly."""
    if without_nightly(collector.config) and is_nightly(getattr(obj, "pytestmark", ())):
        return []
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Make no items of the nightly cases of a test either."""
    if without_nightly(metafunc.config):
        marks = metafunc.definition.own_markers
        marks[:] = [daily(mark) if mark.name == "parametrize" else mark for mark in marks]


def daily(parametrize):
    """The mark without its nightly cases; unchanged if it has no others."""
    names, cases, *rest = parametrize.args
    cases = list(cases)
    kept = [i for i, case in enumerate(cases) if not is_nightly(getattr(case, "marks", ()))]
    if len(kept) in (0, len(cases)):
        return parametrize
    given = dict(parametrize.kwargs)
    if (ids := given.get("ids")) is not None and not callable(ids):
        given["ids"] = [id for i, id in enumerate(ids) if i in kept]
    return pytest.mark.parametrize(names, [cases[i] for i in kept], *rest, **given).mark


def pytest_collection_modifyitems(items):
    """The laws come first, and the references first of all: a wrong rule is named before what is
    built on it fails.
    """
    order = ("tests/laws/test_references", "tests/laws/")
    items.sort(
        key=lambda item: next(
            (i for i, start in enumerate(order) if item.nodeid.startswith(start)), len(order)
        )
    )


def pytest_runtest_teardown(item):
    """Drop compiled programs before the process runs out of memory mappings, at which LLVM
    ends it.
    """
    pytest_runtest_teardown.tests += 1
    if (
        pytest_runtest_teardown.tests % 50 == 0
        and MAPS.exists()
        and MAPS.read_bytes().count(b"\n") > MOST_MAPS
    ):
        jax.clear_caches()
        gc.collect()


pytest_runtest_teardown.tests = 0


def pytest_unconfigure(config):
    """End at once: pytest would walk through all objects five times, and JAX free every program by
    itself.
    """
    gc.freeze()
    if hasattr(config, "workerinput"):  # of a worker the exit status is not asked for
        atexit.register(os._exit, 0)
