"""Stricter than users are: strict dtype and rank promotion, warnings as errors, eight host devices."""

import functools
import gc
import os
from importlib.metadata import version
from pathlib import Path

# The older code generator of XLA's CPU backend compiles small programs in less than half the time, and thousands are
# compiled here. `make test-slow` runs the laws that ask for equal bits with the one that users have.
# A newer XLA may not know the flag, and ends the process over one that it does not know.
FLAGS = ["--xla_force_host_platform_device_count=8"]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11) and "USERS_CODE_GENERATOR" not in os.environ:
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
# Added to the caller's flags, not instead of them; a flag that the caller sets wins.
GIVEN = os.environ.get("XLA_FLAGS", "").split()
NAMED = {flag.partition("=")[0] for flag in GIVEN}
os.environ["XLA_FLAGS"] = " ".join(GIVEN + [flag for flag in FLAGS if flag.partition("=")[0] not in NAMED])

import jax
import jax.numpy as jnp
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000  # of the 65,530 that Linux allows a process; a compiled program keeps a few


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
    """Whether XLA can compile float16: for a processor without conversions (F16C) its CPU backend lacks a routine."""
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


def pytest_collection_modifyitems(config, items):
    """Tests of one row of the catalogue run in one process, where what they compile is shared (`--dist loadgroup`)."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        parameters = getattr(item, "callspec", None)
        row = parameters and parameters.params.get("row")
        if row is not None and hasattr(row, "name"):
            item.add_marker(pytest.mark.xdist_group(row.name))
        elif parameters and "tx" in parameters.params:
            item.add_marker(pytest.mark.xdist_group(f"law of {parameters.id.split('-')[-1]}"))


def pytest_runtest_teardown(item):
    """Drop compiled programs before the process runs out of memory mappings, at which LLVM ends it."""
    pytest_runtest_teardown.tests += 1
    if pytest_runtest_teardown.tests % 50 == 0 and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


pytest_runtest_teardown.tests = 0
