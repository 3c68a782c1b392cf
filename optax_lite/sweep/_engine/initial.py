"""Make the initial params of each seed, once, because random numbers are slow to compile."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.config import is_key
from optax_lite.core.types import PyTree


class InitialParams:
    """Keys and initial params of the seeds, compiled in the background."""

    def __init__(self, begin: Any, seeds: tuple[int, ...]):
        began = time.perf_counter()
        self.keys = np.stack(
            [np.asarray(jax.random.key_data(jax.random.key(seed))) for seed in seeds]
        )
        lowered = jax.jit(begin).lower(self.keys[0])
        shapes = (self.keys[0], lowered.out_info)
        self.shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
        pool = ThreadPoolExecutor(1)
        self._compiled = pool.submit(lowered.compile)
        pool.shutdown(wait=False)
        self.seconds = time.perf_counter() - began  # that it took, or was waited for

    @cached_property
    def params(self) -> PyTree:
        """Return the params of all seeds with a leading axis, as numpy arrays except for random
        keys.
        """
        began = time.perf_counter()
        run = self._compiled.result()
        made = [jax.device_get(run(key)) for key in self.keys]
        self.seconds += time.perf_counter() - began
        return jax.tree.map(lambda *xs: (jnp if is_key(xs[0]) else np).stack(xs), *made)
