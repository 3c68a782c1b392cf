"""Lookahead (Zhang et al. 2019)."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.average import no_small_difference
from tests.methods.bases import decayed, heavy, no_transformation, plain, scaled, with_base_of
from tests.methods.compare import started
from tests.methods.row import Quirks, Row, over, rate


def lookahead(g, s, w, *, base, sync_period, slow_step_size, reset_state):
    """Lookahead (Zhang et al. 2019, Algorithm 1): one inner step, and after sync_period of them the
    outer one.
    """
    slow = np.array(w) if s is None else s["slow"]
    steps = 0 if s is None else s["steps_since_sync"]
    u, fast_state = base(g, None if s is None else s["base"], w)
    steps = steps + 1
    if steps == sync_period:
        step = slow_step_size * (u - (slow - w))  # the fast weights are at w + u
        u, slow = (slow - w) + step, slow + step
        steps = 0
        if reset_state:
            fast_state = {k: 0 * x for k, x in fast_state.items()}  # these start at 0
    return u, {"slow": slow, "steps_since_sync": steps, "base": fast_state}


def just_synced(state, seed):
    """Used, and the slow weights moved in the last update."""
    state = started(state, seed)
    one = {"steps_since_sync": jnp.int32(0)}
    return (
        state._replace(**one)
        if hasattr(state, "steps_since_sync")
        else state._replace(inner_state=state.inner_state._replace(**one))
    )


def long_steps(trees):
    """The same, and that entry with steps of its own size: the slow weights are kept beside them in
    one precision.
    """
    params, gradients = no_small_difference(trees)
    return params, [g | {"scalar": 10 * g["scalar"]} for g in gradients]


ROWS: tuple[Row, ...] = (
    Row(
        ol.lookahead,
        lookahead,
        (
            {"fast_optimizer": heavy, "sync_period": 2, "slow_step_size": 0.5},
            *(
                {"fast_optimizer": base, **s}
                for base in (heavy, scaled)
                for s in over(
                    sync_period=(1, 3), slow_step_size=(0.25, 1.0), reset_state=(False, True)
                )
            ),
            {"fast_optimizer": heavy, "sync_period": 2, "slow_step_size": 0.0},
            {"fast_optimizer": decayed, "sync_period": 3, "slow_step_size": rate},
        ),
        (
            (
                {"fast_optimizer": 0.1, "sync_period": 2, "slow_step_size": 0.5},
                f"fast_optimizer {no_transformation}",
            ),
            (
                {"fast_optimizer": plain, "sync_period": 0, "slow_step_size": 0.5},
                "sync_period must be an integer of at least 1, got 0",
            ),
            (
                {"fast_optimizer": plain, "sync_period": 2.5, "slow_step_size": 0.5},
                "sync_period must be an integer of at least 1, got 2.5",
            ),
            (
                {"fast_optimizer": plain, "sync_period": 2, "slow_step_size": -0.5},
                "slow_step_size must be at least 0, got -0.5",
            ),
        ),
        quirks=Quirks(translate=with_base_of("fast_optimizer"), used=just_synced, data=long_steps),
    ),
)
