"""Base optimizers for methods that wrap another one, in the forms that the factory and the
reference take.
"""

from functools import partial

import numpy as np

import optax_lite as ol
from tests.methods import adam, decay, momentum, rmsprop, sgd
from tests.methods.compare import seen_by_run


def leafwise(rule):
    """The per-leaf reference `rule` as one over lists: leafwise(partial(sgd, learning_rate=0.1,
    ...))(g, s, w).
    """

    def whole_tree(g, s, w):
        # A Python number (a count) is the same for all leaves; an array field is one entry per
        # leaf.
        results = []
        for i in range(len(g)):
            s_i = (
                None if s is None else {k: x[i] if isinstance(x, list) else x for k, x in s.items()}
            )
            results.append(rule(g[i], s_i, w[i]))
        s_new = {}
        for k, x in results[0][1].items():
            s_new[k] = x if isinstance(x, (bool, int, float)) else [s_i[k] for _, s_i in results]
        return [u for u, _ in results], s_new

    return whole_tree


def with_base_of(argument):
    """From the transformation an argument names to the reference for it."""

    def translate(arguments):
        rest = {k: v for k, v in arguments.items() if k != argument}
        return {"base": BASES[arguments[argument]]} | rest

    return translate


_rmsprop = partial(
    rmsprop.rmsprop,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=None,
    nesterov=False,
    bias_correction=False,
)
# Base optimizers for one leaf, as the factory and as the reference take them; their numbers are
# exact in float32.
BASES = {
    ol.sgd(0.5): partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False),
    ol.sgd(0.25, 0.75): partial(sgd.sgd, learning_rate=0.25, momentum=0.75, nesterov=False),
    ol.sgd(0.5, 0.25): partial(sgd.sgd, learning_rate=0.5, momentum=0.25, nesterov=False),
    ol.adam(0.25, 0.5, 0.75, 2.0**-30): partial(
        adam.adam, learning_rate=0.25, b1=0.5, b2=0.75, eps=2.0**-30, eps_root=0.0, nesterov=False
    ),
    ol.rmsprop(0.5, 0.75, 0.125): partial(_rmsprop, learning_rate=0.5, decay=0.75, eps=0.125),
    ol.rmsprop(0.25, 0.5, 0.5): partial(_rmsprop, learning_rate=0.25, decay=0.5, eps=0.5),
    ol.scale_by_adam(0.5, 0.75, 0.125): partial(
        adam.scale_by_adam, b1=0.5, b2=0.75, eps=0.125, eps_root=0.0, nesterov=False
    ),
    ol.trace(0.5): partial(momentum.trace, decay=0.5, nesterov=False),
    ol.sgd(2.0**20): partial(sgd.sgd, learning_rate=2.0**20, momentum=None, nesterov=False),
    # reads the params
    ol.add_decayed_weights(-0.25): partial(decay.add_decayed_weights, weight_decay=-0.25),
}
plain, heavy, light, adaptive, scaled, slower, adam_direction, trace, giant, decayed = BASES
# What the bases remember before they have run, so that the references know it where they never do.
FRESH = {plain: (), heavy: ("trace",), light: ("trace",), scaled: ("nu",), slower: ("nu",)}


def with_fresh_base(arguments):
    """The base of a reference for lists, and its state at the start, in place of the
    transformation.
    """
    name = next(k for k in ("tx", "opt", "inner") if k in arguments)
    fields = FRESH[arguments[name]]

    def start(g):
        return {
            f: [np.zeros(np.shape(x), x.real.dtype if f == "nu" else x.dtype) for x in g]
            for f in fields
        }

    rest = {k: v for k, v in arguments.items() if k != name}
    return rest | {"base": leafwise(BASES[arguments[name]]), "start": start}


def given_own_fields(reference):
    """A reference whose base is told its own fields only, and so may return them as they were."""

    def with_own_fields(g, s, w, *, start, **settings):
        s = s and s | {"base": {field: s[field] for field in start(g)}}
        return reference(g, s, w, start=start, **settings)

    return with_own_fields


no_transformation = "must be a GradientTransformation, got 0.1"
bad_tx = ({"tx": 0.1}, f"member tx {no_transformation}")


def default_adam(g, s, w):
    b1, b2 = (seen_by_run(b, 0) for b in (0.9, 0.999))
    return adam.scale_by_adam(g, s, w, b1=b1, b2=b2, eps=1e-8, eps_root=0.0, nesterov=False)


def with_base(arguments):
    given = [arguments[k] for k in ("base_optimizer", "inner") if arguments.get(k) is not None]
    rest = {k: v for k, v in arguments.items() if k not in ("base_optimizer", "inner")}
    return {"base": BASES[given[0]] if given else default_adam} | rest
