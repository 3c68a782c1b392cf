"""Gradient clipping: by value, by norm, adaptively (Brock et al. 2021), and for each example (Abadi
et al. 2016).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import relative_error
from tests.methods.row import Quirks, Row, Settings, fast, over, rate


def clip(g, s, w, *, max_delta):
    """Elementwise clipping of real gradients to [-max_delta, max_delta] (Mikolov 2012, PhD
    thesis).
    """
    return np.minimum(np.maximum(g, -max_delta), max_delta), {}


def clip_by_global_norm(g, s, w, *, max_norm):
    """Norm clipping (Pascanu, Mikolov & Bengio 2013, Algorithm 1); g and w are lists of arrays."""
    # One norm for the whole tree, so that the direction of the full gradient is kept.
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    if norm > max_norm:
        return [x * (max_norm / norm) for x in g], {}
    return list(g), {}


def clip_by_block_rms(g, s, w, *, threshold):
    """Update clipping (Shazeer & Stern 2018, Algorithm 4, U_hat): each leaf has an RMS of at most
    the threshold.
    """
    RMS = np.sqrt(np.mean(np.abs(g) ** 2))
    return g / max(1.0, RMS / threshold), {}


def adaptive_grad_clip(g, s, w, *, clipping, eps, axis=None):
    """Adaptive gradient clipping (Brock et al. 2021, equation 3), unit by unit; axis: summed over
    in the norms.
    """
    if axis is None:
        # A unit is what feeds one output: the layouts are (in, out), (heads, ..., out) and (height,
        # width, in, out).
        if np.squeeze(w).ndim <= 1:
            axis = tuple(range(w.ndim))  # a bias or a gain is one unit
        elif w.ndim in (2, 3):
            axis = 0
        else:
            axis = tuple(range(w.ndim - 1))
    W_norm = np.sqrt(np.sum(np.abs(w) ** 2, axis=axis, keepdims=True))
    G_norm = np.sqrt(np.sum(np.abs(g) ** 2, axis=axis, keepdims=True))
    largest = clipping * np.maximum(W_norm, eps)
    # The bound 1e-6 on the divisor is the authors' code's: it avoids 0 / 0 and shrinks still
    # smaller units further.
    return np.where(G_norm > largest, g * (largest / np.maximum(G_norm, 1e-6)), g), {}


def per_example_global_norm_clip(grads, l2_norm_clip):
    """DP-SGD clipping (Abadi et al. 2016, Algorithm 1): sum over the examples (axis 0), and how
    many were clipped.
    """
    total = [np.zeros(x.shape[1:]) for x in grads]
    clipped = 0
    for example in range(len(grads[0])):
        g = [x[example] for x in grads]
        norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
        if norm > l2_norm_clip:
            g = [x * (l2_norm_clip / norm) for x in g]
            clipped = clipped + 1
        total = [a + x for a, x in zip(total, g, strict=True)]
    return total, clipped


def per_example_layer_norm_clip(grads, global_l2_norm_clip, uniform=True):
    """Per-layer clipping (McMahan et al. 2018, C_j = C / sqrt(m)); not uniform: by the layer's
    size.
    """
    sizes = [x[0].size for x in grads]
    totals, counts = [], []
    for x, size in zip(grads, sizes, strict=True):
        share = 1 / len(grads) if uniform else size / sum(sizes)
        [total], clipped = per_example_global_norm_clip([x], global_l2_norm_clip * np.sqrt(share))
        totals.append(total)
        counts.append(clipped)
    return totals, counts


def with_convolutions(trees):
    """Leaves of four and five axes, some of which have one entry; one whose parameters are 0, one
    not clipped.
    """
    params, gradients = trees
    rng = np.random.default_rng(4)
    shapes = {
        "conv": (2, 3, 2, 2),
        "conv3d": (2, 1, 2, 1, 3),
        "row": (1, 4),
        "zero": (3, 2),
        "small": (4, 2),
    }
    params = params | {name: rng.normal(size=shape) for name, shape in shapes.items()}
    params["zero"] *= 0
    gradients = [
        g | {name: rng.normal(size=shape) for name, shape in shapes.items()} for g in gradients
    ]
    for g in gradients:
        g["small"] *= 1e-4
    return params, gradients


def matrices_only(trees):
    return tuple(
        {k: v for k, v in tree.items() if np.ndim(v) == 2} for tree in (trees[0], *trees[1])
    )


EXAMPLES = [np.random.default_rng(9).normal(size=shape) for shape in ((4, 3, 2), (4, 5), (4,))]
EXAMPLES[0][1] *= 1e-3
EXAMPLES[1][1] *= 1e-3
for leaf in EXAMPLES:
    leaf[2] = 0


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


OF_EXAMPLES = (
    OfExamples(
        ol.per_example_global_norm_clip,
        per_example_global_norm_clip,
        tuple({"l2_norm_clip": c} for c in (0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, 10.0, 1e6)),
    ),
    OfExamples(
        ol.per_example_layer_norm_clip,
        per_example_layer_norm_clip,
        (
            {"global_l2_norm_clip": 1.0},
            *over(global_l2_norm_clip=(0.0, 0.5, 3.0, 1e6), uniform=(True, False)),
        ),
    ),
)


ROWS: tuple[Row, ...] = (
    Row(
        ol.clip,
        clip,
        tuple({"max_delta": d} for d in (0.0, 1e-6, 0.1, 0.5, 1, 2.0, 1e6, rate)),
        (({"max_delta": -1}, "max_delta must be at least 0, got -1.0"),),
        quirks=Quirks(
            complex_=False,
            refuses_complex="this method takes real ones: write split_real_and_imaginary",
        ),
    ),
    Row(
        ol.clip_by_global_norm,
        clip_by_global_norm,
        tuple({"max_norm": d} for d in (0.0, 1e-6, 0.1, 1, 3.0, 10.0, 1e6, rate)),
        (({"max_norm": -1}, "max_norm must be at least 0, got -1.0"),),
        quirks=Quirks(whole_tree=True),
    ),
    Row(
        ol.clip_by_block_rms,
        clip_by_block_rms,
        tuple({"threshold": t} for t in (1e-6, 0.1, 0.5, 1, 2.0, 10.0, 1e6, rate)),
        (({"threshold": -1}, "threshold must be at least 0, got -1.0"),),
    ),
    Row(
        ol.adaptive_grad_clip,
        adaptive_grad_clip,
        (
            {"clipping": 0.01},
            *over(clipping=(1e-9, 0.01, 0.5, 3.0), eps=(1e-3, 0.7)),
            {"clipping": rate, "eps": fast},
        ),
        (
            ({"clipping": -1}, "clipping must be at least 0"),
            ({"clipping": 0.1, "eps": -1}, "eps must be at least 0"),
        ),
        quirks=Quirks(data=with_convolutions),
    ),
    Row(
        ol.adaptive_grad_clip,
        adaptive_grad_clip,
        tuple({"clipping": c, "axis": a} for c in (0.01, 0.3) for a in (0, 1, (0, 1), ())),
        quirks=Quirks(
            data=lambda trees: (lambda params, *gradients: (params, list(gradients)))(
                *matrices_only(trees)
            ),
            translate=lambda s: (
                s | {"axis": s["axis"] if isinstance(s["axis"], tuple) else int(s["axis"])}
            ),
            no_laws="its axes are those of matrices; the row above is tested",
            variant=", by axis",
        ),
    ),
)
