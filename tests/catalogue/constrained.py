"""The rows of what corrects, clips or disturbs single updates, and of gradients of examples."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.agreement import relative_error
from tests.catalogue.layerwise import with_short_steps
from tests.catalogue.row import Row, Settings, fast, over, rate, rate_bad
from tests.reference import clip, constrain, noise, sgd

# --- numbers to compare on -------------------------------------------------------------------------------------------


def with_nans(trees):
    params, gradients = trees
    gradients[0]["w"][1, 1] = gradients[1]["z"][0, 1] = gradients[1]["scalar"] = np.nan
    return params, gradients


def with_convolutions(trees):
    """Leaves of four and five axes, some of which have one entry; one whose parameters are 0, one not clipped."""
    params, gradients = trees
    rng = np.random.default_rng(4)
    shapes = {"conv": (2, 3, 2, 2), "conv3d": (2, 1, 2, 1, 3), "row": (1, 4), "zero": (3, 2), "small": (4, 2)}
    params = params | {name: rng.normal(size=shape) for name, shape in shapes.items()}
    params["zero"] *= 0
    gradients = [g | {name: rng.normal(size=shape) for name, shape in shapes.items()} for g in gradients]
    for g in gradients:
        g["small"] *= 1e-4
    return params, gradients


def matrices_only(trees):
    return tuple({k: v for k, v in tree.items() if np.ndim(v) == 2} for tree in (trees[0], *trees[1]))


def sorted_by_name(trees):
    """In the order in which JAX sees the leaves, and so hands out keys."""
    params, gradients = trees
    return dict(sorted(params.items())), [dict(sorted(g.items())) for g in gradients]


def of_examples(trees):
    """Gradients of three examples: one is 0, one is large."""
    params, gradients = sorted_by_name(trees)
    return params, [{k: np.stack([0 * x, x, 30 * np.flip(x)]) for k, x in g.items()} for g in gradients]


# --- references with JAX's random numbers ----------------------------------------------------------------------------


def draws(s, seed, leaves):
    """The raw key to keep, and standard normal numbers for every leaf: a key for each, split from this step's."""
    data = jax.random.key_data(jax.random.key(int(seed or 0))) if s is None else jnp.asarray(s["rng_key"])
    kept, now = jax.random.split(jax.random.wrap_key_data(data))
    keys = jax.random.split(now, len(leaves))
    kinds = [jnp.result_type(complex if np.iscomplexobj(x) else float) for x in leaves]
    normal = [jax.random.normal(k, np.shape(x), d) for k, x, d in zip(keys, leaves, kinds, strict=True)]
    return np.asarray(jax.random.key_data(kept)), [np.asarray(n) for n in normal]


def add_noise(g, s, w, *, eta, gamma, key, seed):
    t = 0 if s is None else s["count"]
    kept, normal = draws(s, key if seed is None else seed, g)
    std = np.sqrt(noise.variance(eta=eta, gamma=gamma, t=t))
    return [x + std * n for x, n in zip(g, normal, strict=True)], {"count": t + 1, "rng_key": kept}


def noisy_sgd(g, s, w, *, learning_rate, **rest):
    u, s_new = add_noise(g, s, w, **rest)
    return [-learning_rate * x for x in u], s_new


def aggregate(g, s, w, *, l2_norm_clip, noise_multiplier, key, seed):
    examples = len(g[0])
    kept, normal = draws(s, key if seed is None else seed, w)
    std = noise.dpsgd_std(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, examples=examples)
    mean = noise.dpsgd_aggregate(g, l2_norm_clip=l2_norm_clip)
    return [m + std * n for m, n in zip(mean, normal, strict=True)], {"rng_key": kept}


def dpsgd(g, s, w, *, learning_rate, l2_norm_clip, noise_multiplier, seed, momentum, nesterov):
    mean, s_new = aggregate(g, s, w, l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, key=None, seed=seed)
    traces = [None if s is None or momentum is None else {"trace": t} for t in (s or {}).get("trace", w)]
    settings = {"learning_rate": learning_rate, "momentum": momentum, "nesterov": nesterov}
    steps = [sgd.sgd(m, t, x, **settings) for m, t, x in zip(mean, traces, w, strict=True)]
    new_traces = {} if momentum is None else {"trace": [state["trace"] for _, state in steps]}
    return [u for u, _ in steps], s_new | new_traces


# --- rows ------------------------------------------------------------------------------------------------------------

eta_bad = ({"eta": -1, "gamma": 0.5}, "eta must be at least 0, got -1.0")
key_bad = (
    ({"key": 1, "seed": 2}, "give key= or seed=, not both: got 1 and 2"),
    ({"key": 0.5}, "key must be an int seed or a random key, got 0.5"),
    ({"seed": True}, "key must be an int seed or a random key, got True"),
)
private = {"l2_norm_clip": 1.0, "noise_multiplier": 0.5}
private_settings = (
    private,
    {"l2_norm_clip": 0.3, "noise_multiplier": 0.0},
    {"l2_norm_clip": 1e3, "noise_multiplier": 0.0},
    {"l2_norm_clip": 1e6, "noise_multiplier": 1e-6},
    {"l2_norm_clip": 10.0, "noise_multiplier": 2.0},
    {"l2_norm_clip": rate, "noise_multiplier": 0.1},
    {"l2_norm_clip": 3.0, "noise_multiplier": fast},
)
private_bad = (
    ({**private, "l2_norm_clip": -1}, "l2_norm_clip must be at least 0, got -1.0"),
    ({**private, "noise_multiplier": -1}, "noise_multiplier must be at least 0"),
)
examples_only = "it takes gradients of examples: see test_noise_and_privacy"


def with_(settings, **more):
    return tuple((more | s, message) for s, message in settings)


ROWS = (
    Row(
        ol.clip_by_block_rms,
        clip.clip_by_block_rms,
        tuple({"threshold": t} for t in (1e-6, 0.1, 0.5, 1, 2.0, 10.0, 1e6, rate)),
        ({"threshold": -1}, "threshold must be at least 0, got -1.0"),
    ),
    Row(
        ol.adaptive_grad_clip,
        clip.adaptive_grad_clip,
        ({"clipping": 0.01}, *over(clipping=(1e-9, 0.01, 0.5, 3.0), eps=(1e-3, 0.7)), {"clipping": rate, "eps": fast}),
        (({"clipping": -1}, "clipping must be at least 0"), ({"clipping": 0.1, "eps": -1}, "eps must be at least 0")),
        data=with_convolutions,
    ),
    Row(
        ol.adaptive_grad_clip,
        clip.adaptive_grad_clip,
        tuple({"clipping": c, "axis": a} for c in (0.01, 0.3) for a in (0, 1, (0, 1), ())),
        data=lambda trees: (lambda params, *gradients: (params, list(gradients)))(*matrices_only(trees)),
        translate=lambda s: s | {"axis": s["axis"] if isinstance(s["axis"], tuple) else int(s["axis"])},
        no_laws="its axes are those of matrices; the row above is tested",
        variant=", by axis",
    ),
    Row(ol.zero_nans, constrain.zero_nans, ({},), data=with_nans),
    Row(
        ol.keep_params_nonnegative,
        constrain.keep_params_nonnegative,
        ({},),
        complex_=False,
        refuses_complex="this is for real ones",
        moves_without_gradient="a negative parameter goes to 0",
    ),
    Row(ol.centralize, constrain.centralize, ({},)),
    Row(
        ol.normalize_by_update_norm,
        constrain.normalize_by_update_norm,
        ({}, *over(scale_factor=(1.0, -2.0, 0.1), eps=(1e-6, 0.0, 30.0)), {"scale_factor": rate, "eps": fast}),
        ({"eps": -1}, "eps must be at least 0, got -1.0"),
        whole_tree=True,
        data=with_short_steps,
    ),
    Row(ol.normalize, constrain.normalize, ({},), whole_tree=True),
    Row(
        ol.add_noise,
        add_noise,
        (
            *over(eta=(0.01, 1.0), gamma=(0.0, 0.55, 2.0)),
            {"eta": 0.0, "gamma": 0.5},
            {"eta": 0.3, "gamma": 0.55, "key": 7},
            {"eta": 0.3, "gamma": 0.55, "seed": 7},
            {"eta": rate, "gamma": fast},
        ),
        (eta_bad, *with_(key_bad, eta=0.1, gamma=0.5)),
        whole_tree=True,
        data=sorted_by_name,
        random=True,
        moves_without_gradient="there is noise",
    ),
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
        (*rate_bad, *with_((eta_bad, *key_bad), learning_rate=0.1)),
        whole_tree=True,
        data=sorted_by_name,
        random=True,
        moves_without_gradient="there is noise",
    ),
    Row(
        ol.differentially_private_aggregate,
        aggregate,
        (*private_settings, {**private, "key": 7}, {**private, "seed": 7}),
        (*private_bad, *with_(key_bad, **private)),
        whole_tree=True,
        data=of_examples,
        no_laws=examples_only,
    ),
    Row(
        ol.dpsgd,
        dpsgd,
        (
            *({"learning_rate": 0.1, "seed": 0, **s} for s in private_settings),
            {"learning_rate": rate, "seed": 1, "momentum": 0.9, **private},
            {"learning_rate": 0.1, "seed": 2, "momentum": 0.5, "nesterov": True, **private},
            {"learning_rate": 0.1, "seed": 2, "momentum": fast, "nesterov": True, **private},
        ),
        (
            *with_(private_bad, learning_rate=0.1, seed=0, **private),
            ({"learning_rate": 0.1, **private, "seed": 0.5}, "key must be an int seed"),
        ),
        whole_tree=True,
        data=of_examples,
        no_laws=examples_only,
    ),
)


# --- plain functions of gradients of examples ------------------------------------------------------------------------


@dataclass(frozen=True)
class OfExamples:
    function: Callable  # (grads, **settings) -> (sums, counts)
    reference: Callable  # the same of lists of arrays
    settings: tuple[Settings, ...]

    @property
    def name(self) -> str:
        return self.function.__name__

    def error(self, settings, function=None) -> float:
        """The largest relative error of sums and counts."""
        worst = 0.0
        for grads in (EXAMPLES, [np.array([3.0])]):
            sums, counts = (function or self.function)([jnp.asarray(x) for x in grads], **settings)
            expected, expected_counts = self.reference(grads, **settings)
            assert np.array_equal(counts, expected_counts), (counts, expected_counts)
            worst = max(worst, relative_error(sums, expected))
        return worst


EXAMPLES = [np.random.default_rng(9).normal(size=shape) for shape in ((4, 3, 2), (4, 5), (4,))]
EXAMPLES[0][1] *= 1e-3
EXAMPLES[1][1] *= 1e-3
for leaf in EXAMPLES:
    leaf[2] = 0
OF_EXAMPLES = (
    OfExamples(
        ol.per_example_global_norm_clip,
        clip.per_example_global_norm_clip,
        tuple({"l2_norm_clip": c} for c in (0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, 10.0, 1e6)),
    ),
    OfExamples(
        ol.per_example_layer_norm_clip,
        clip.per_example_layer_norm_clip,
        ({"global_l2_norm_clip": 1.0}, *over(global_l2_norm_clip=(0.0, 0.5, 3.0, 1e6), uniform=(True, False))),
    ),
)
