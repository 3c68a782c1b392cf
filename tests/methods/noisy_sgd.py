"""Noisy SGD (Neelakantan et al. 2015)."""

import optax_lite as ol
from tests.methods.noise import add_noise, bad_with, eta_bad, key_bad, sorted_by_name
from tests.methods.row import Quirks, Row, fast, over, rate, rate_bad


def noisy_sgd(g, s, w, *, learning_rate, **rest):
    u, s_new = add_noise(g, s, w, **rest)
    return [-learning_rate * x for x in u], s_new


def noisy_sgd_parts(lib, learning_rate, eta=0.01, gamma=0.55, key=None, seed=None):
    return lib.chain(
        lib.add_noise(eta=eta, gamma=gamma, key=key, seed=seed),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.noisy_sgd,
        noisy_sgd,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, rate), eta=(0.1, 0.5), gamma=(0.1, 1.0)),
            {"learning_rate": 0.1, "key": 3},
            {"learning_rate": 0.1, "seed": 3},
            {"learning_rate": 1, "eta": rate, "gamma": fast},
        ),
        (*rate_bad, *bad_with((eta_bad, *key_bad), learning_rate=0.1)),
        stands_for=noisy_sgd_parts,
        quirks=Quirks(
            whole_tree=True,
            data=sorted_by_name,
            random=True,
            moves_without_gradient="there is noise",
        ),
    ),
)
