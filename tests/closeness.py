"""Bounds from the arithmetic: they hold on every processor, and a real mistake still breaks them.

XLA reorders sums, fuses operations and contracts a·b + c into one rounding as the processor and the
program around them allow. So two programs for one formula (jitted and eager, vmapped and alone, a
scan and its loop, sharded and on one device) agree in all bits only where every operation is exact.
An entry near 0 that is a difference of larger numbers carries their rounding errors, so that its
own size bounds nothing: the largest entry of its leaf does.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Units in the last place that one update of an elementwise rule may be off by: a moment, its bias
# correction, a root, a quotient and the step are about 20 operations, each rounded by half a unit
# on either side.
A_STEP = 20


def assert_close(
    actual: Any, expected: Any, *, ulps: float, largest: float = 0.0, dtype: Any = None
) -> None:
    """Compare trees up to `ulps` units in the last place of the largest entry of each leaf.

    The unit is that of the less precise of the two dtypes. Rules compute in float32 at least, so
    that what is stored in fewer digits may be off by units of float32 and by one of its own, where
    the last rounding falls on the other side. Integers and bools have to be equal.

    Args:
        actual: The tree that is tested.
        expected: The tree it should be; its leaves may be scalars.
        ulps: How many operations are rounded on the way, times the condition number unless that is
            about 1.
        largest: The size of the numbers that cancel on the way, where they are larger than all
            entries that are left.
        dtype: What was computed in, where a report holds it in a wider one.
    """

    def compare(path, a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert b.shape in (a.shape, ()), (
            f"{jax.tree_util.keystr(path)}: shapes {a.shape} and {b.shape}"
        )
        dtypes = (
            [dtype] if dtype else [x.dtype for x in (a, b) if jnp.issubdtype(x.dtype, jnp.inexact)]
        )
        if not dtypes:
            np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
            return
        a, b = (x.astype(np.complex128 if np.iscomplexobj(x) else np.float64) for x in (a, b))
        size = max(largest, np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
        stored = max(float(jnp.finfo(found).eps) for found in dtypes)
        single = float(jnp.finfo(jnp.float32).eps)
        bound = ulps * min(stored, single) + (stored if stored > single else 0.0)
        np.testing.assert_allclose(
            a, b, rtol=0, atol=bound * size, err_msg=jax.tree_util.keystr(path)
        )

    jax.tree_util.tree_map_with_path(compare, actual, expected)
