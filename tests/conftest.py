"""Stricter than users are: strict dtype and rank promotion, warnings as errors, eight host devices."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# The older code generator of XLA's CPU backend compiles small programs in less than half the time, and thousands are
# compiled here. `make test-slow` runs the laws that ask for equal bits with the one that users have.
# A newer XLA may not know the flag, and ends the process over one that it does not know.
FLAGS = "--xla_force_host_platform_device_count=8"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", FLAGS)

import jax
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


def pytest_collection_modifyitems(items):
    """Tests of one row of the table run in one process, where what they compile is shared (`--dist loadgroup`)."""
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
