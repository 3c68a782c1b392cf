"""COCOB (Orabona & Tommasi 2017)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, eps_bad, fast, over, rate, rate_bad, with_rate


def scale_by_cocob(g, s, w, *, alpha, eps):
    """COCOB-Backprop (Orabona & Tommasi 2017, Algorithm 2), one coin per coordinate, for a gradient
    g.
    """
    # The paper's g_t is a NEGATIVE subgradient; the update therefore descends without a learning
    # rate's sign.
    g = -g
    w_1 = w if s is None else s["init_particles"]
    # The paper starts the scale L at 0; eps instead (the authors' code: 1e-8) keeps 0 / 0 away.
    L = np.full(g.shape, eps) if s is None else s["scale"]
    G = np.zeros(g.shape) if s is None else s["subgradients"]
    reward = np.zeros(g.shape) if s is None else s["reward"]
    theta = np.zeros(g.shape) if s is None else s["cumulative_gradients"]
    L = np.maximum(L, np.abs(g))
    G = G + np.abs(g)
    # A complex entry bets as the pair of its parts.
    reward = np.maximum(reward + ((w - w_1) * np.conj(g)).real, 0)
    theta = theta + g
    # w_1 + bet - w, in the order that keeps the digits of a small bet.
    bet = theta / (L * np.maximum(G + L, alpha * L)) * (reward + L)
    s_new = {
        "init_particles": w_1,
        "cumulative_gradients": theta,
        "scale": L,
        "subgradients": G,
        "reward": reward,
    }
    return bet + (w_1 - w), s_new


def cocob(g, s, w, *, learning_rate, alpha, eps, weight_decay, decayed=True):
    """COCOB-Backprop (Orabona & Tommasi 2017, Algorithm 2) for a gradient g."""
    if decayed:
        g = g + weight_decay * w
    # The rate scales what is bet on, not the step: the algorithm has no step size.
    return scale_by_cocob(learning_rate * g, s, w, alpha=alpha, eps=eps)


# Large eps show their places; started sums and distances come with the used state.
cocob_settings = (
    {},
    *over(alpha=(0.0, 1.5), eps=(1e-8, 0.2)),
    {"alpha": 1000},
    {"eps": 5.0},
    {"alpha": fast, "eps": 0.1},
)


def cocob_parts(lib, learning_rate=1.0, alpha=100.0, eps=1e-8, weight_decay=0.0, mask=None):
    return lib.chain(
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate, flip_sign=False),
        lib.scale_by_cocob(alpha=alpha, eps=eps),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_cocob,
        scale_by_cocob,
        cocob_settings,
        (({"alpha": -1}, "alpha must be at least 0, got -1.0"), *eps_bad[:1]),
    ),
    Row(
        ol.cocob,
        cocob,
        (
            *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in cocob_settings[:6]),
            {"learning_rate": rate, "weight_decay": fast, "eps": 0.2},
            {"eps": 0.5},
            {},
        ),
        (*rate_bad, *with_rate(eps_bad[:1])),
        stands_for=cocob_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
)
