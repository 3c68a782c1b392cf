"""Stricter than users are: strict dtype and rank promotion, warnings as errors, eight host devices."""

import gc
import os
import subprocess
import sys
from pathlib import Path

FLAGS = "--xla_force_host_platform_device_count=8"
# The older code generator of XLA's CPU backend compiles small programs in less than half the time, and thousands are
# compiled here. `make test-slow` runs the laws that ask for equal bits with the one that users have.
OLDER_GENERATOR = "--xla_cpu_use_fusion_emitters=false"


def is_known(flag: str) -> bool:
    """Ask XLA in another process, as it ends the process over a flag that it does not know."""
    environment = os.environ | {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


if "XLA_FLAGS" not in os.environ:  # the workers of xdist inherit it, so that XLA is asked once
    os.environ["XLA_FLAGS"] = f"{FLAGS} {OLDER_GENERATOR}" if is_known(OLDER_GENERATOR) else FLAGS

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
