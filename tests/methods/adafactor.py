"""Adafactor (Shazeer & Stern 2018)."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import started
from tests.methods.row import Quirks, Row, fast, rate


def scale_by_factored_rms(
    g, s, w, *, factored, decay_rate, step_offset, min_dim_size_to_factor, epsilon
):
    """Adafactor's second moment (Shazeer & Stern 2018, Algorithm 4; unfactored: Algorithm 5) and U
    = G / sqrt(V).
    """
    count = 0 if s is None else s["count"]
    # The count runs on from a fine-tuned model; step_offset is where fine-tuning began (optax).
    t = count + 1 - step_offset
    beta2 = 1 - t ** (-decay_rate)
    G2 = np.abs(g) ** 2 + epsilon
    unused = np.zeros((1,))

    # The paper has matrices only. For more axes optax factors the two longest (of equals: the
    # later) and treats the others as a stack of matrices, if the shorter of the two is at least
    # min_dim_size_to_factor.
    by_length = np.argsort(g.shape, kind="stable")
    if not (factored and g.ndim >= 2 and g.shape[by_length[-2]] >= min_dim_size_to_factor):
        V = np.zeros(g.shape) if s is None else s["v"]
        V = beta2 * V + (1 - beta2) * G2
        return g / np.sqrt(V), {"count": count + 1, "v_row": unused, "v_col": unused, "v": V}

    longest, second = by_length[-1], by_length[-2]
    # Means, where the paper has sums (as the authors' tensor2tensor code): the factors 1/n and 1/m
    # cancel in V.
    R_new, C_new = np.mean(G2, axis=longest), np.mean(G2, axis=second)
    R = beta2 * (np.zeros(R_new.shape) if s is None else s["v_row"]) + (1 - beta2) * R_new
    C = beta2 * (np.zeros(C_new.shape) if s is None else s["v_col"]) + (1 - beta2) * C_new
    R_full, C_full = np.expand_dims(R, longest), np.expand_dims(C, second)
    V = R_full * C_full / np.mean(R_full, axis=second, keepdims=True)
    return g / np.sqrt(V), {"count": count + 1, "v_row": R, "v_col": C, "v": unused}


def adafactor(
    g,
    s,
    w,
    *,
    learning_rate,
    min_dim_size_to_factor,
    decay_rate,
    decay_offset,
    multiply_by_parameter_scale,
    clipping_threshold,
    momentum,
    weight_decay_rate,
    eps,
    factored,
    decayed=True,
):
    """Adafactor (Shazeer & Stern 2018, Algorithms 4 to 6); decayed=False: a masked leaf."""
    U, s_new = scale_by_factored_rms(
        g,
        s,
        w,
        factored=factored,
        decay_rate=decay_rate,
        step_offset=decay_offset,
        min_dim_size_to_factor=min_dim_size_to_factor,
        epsilon=eps,
    )
    if clipping_threshold is not None:
        RMS_U = np.sqrt(np.mean(np.abs(U) ** 2))
        U = U / max(1.0, RMS_U / clipping_threshold)
    # The paper's default is rho_t = min(1e-2, 1 / sqrt(t)); optax's None leaves the factor out.
    alpha = 1.0 if learning_rate is None else learning_rate
    if multiply_by_parameter_scale:
        RMS_w = np.sqrt(np.mean(np.abs(w) ** 2))
        alpha = alpha * max(1e-3, RMS_w)
    step = alpha * U
    if momentum is not None:
        # The authors' tensor2tensor code: the average is of whole steps, without bias correction.
        m = np.zeros_like(g) if s is None else s["ema"]
        step = momentum * m + (1 - momentum) * step
        s_new["ema"] = step
    if weight_decay_rate is not None and decayed:
        # Not in the paper. optax: joins last, so neither the learning rate nor the momentum touches
        # it.
        step = step + weight_decay_rate * w
    return -step, s_new


def used_factored(state, seed):
    """A used state in which the slots that a leaf has no use for are 0, as they stay."""
    return jax.tree.map(
        lambda new, old: old if old.shape == (1,) else new, started(state, seed), state
    )


def with_large_leaves(trees):
    """Leaves that are just large enough to be factored by default, or not; one row; gradients near
    √epsilon.
    """
    params, gradients = trees
    rng = np.random.default_rng(5)
    shapes = {"large": (128, 130), "less": (127, 130), "row": (1, 4), "tiny": (3,)}
    params = params | {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients = [
        g | {name: rng.normal(size=shape) for name, shape in shapes.items()} for g in gradients
    ]
    for g in gradients:
        g["tiny"] *= 1e-15
    return params, gradients


# Leaves of the tests have axes of 1 to 5 entries: (3, 4) and (2, 1, 5) are factored from 2 on, only
# (3, 4) from 3 on.
factored_settings = (
    {},
    {"min_dim_size_to_factor": 2},
    {"min_dim_size_to_factor": 3, "decay_rate": 0.5, "epsilon": 0.1},
    {"min_dim_size_to_factor": 2, "factored": False, "epsilon": 0.1},
    {"min_dim_size_to_factor": 0, "epsilon": 0.3},
    {"min_dim_size_to_factor": 2, "step_offset": -3, "decay_rate": 1.0},
    {"step_offset": -1, "epsilon": 1e-3},
    {"min_dim_size_to_factor": 2, "decay_rate": fast, "epsilon": rate},
)
adafactor_settings = (
    {},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 2},
    {
        "learning_rate": 0.1,
        "min_dim_size_to_factor": 3,
        "decay_rate": 0.5,
        "decay_offset": -2,
        "eps": 0.1,
    },
    {"learning_rate": 0.1, "multiply_by_parameter_scale": False, "clipping_threshold": 0.3},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 2, "clipping_threshold": None, "eps": 0.01},
    {"learning_rate": 0.1, "clipping_threshold": 0.7, "momentum": 0.9, "dtype_momentum": None},
    {"learning_rate": 0.1, "weight_decay_rate": 0.3, "momentum": 0.5, "dtype_momentum": None},
    {
        "learning_rate": 0.1,
        "min_dim_size_to_factor": 2,
        "factored": False,
        "weight_decay_rate": 0.0,
    },
    {"learning_rate": rate, "min_dim_size_to_factor": 2, "momentum": fast, "dtype_momentum": None},
    {"weight_decay_rate": rate, "multiply_by_parameter_scale": False},
)


def adafactor_parts(
    lib,
    learning_rate=None,
    min_dim_size_to_factor=128,
    decay_rate=0.8,
    decay_offset=0,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=None,
    dtype_momentum=jnp.float32,
    weight_decay_rate=None,
    eps=1e-30,
    factored=True,
    weight_decay_mask=None,
):
    direction = lib.scale_by_factored_rms(
        factored=factored,
        decay_rate=decay_rate,
        step_offset=decay_offset,
        min_dim_size_to_factor=min_dim_size_to_factor,
        epsilon=eps,
    )
    parts = [direction]
    if clipping_threshold is not None:
        parts += [lib.clip_by_block_rms(threshold=clipping_threshold)]
    if learning_rate is not None:
        parts += [lib.scale_by_learning_rate(learning_rate, flip_sign=False)]
    if multiply_by_parameter_scale:
        parts += [lib.scale_by_param_block_rms(min_scale=1e-3)]
    if momentum is not None:
        parts += [lib.ema(decay=momentum, debias=False, accumulator_dtype=dtype_momentum)]
    if weight_decay_rate is not None:
        parts += [lib.add_decayed_weights(weight_decay=weight_decay_rate, mask=weight_decay_mask)]
    return lib.chain(*parts, lib.scale(-1.0))


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_factored_rms,
        scale_by_factored_rms,
        factored_settings,
        (
            ({"epsilon": -1}, "epsilon must be at least 0, got -1.0"),
            ({"decay_rate": -1}, "decay_rate must be at least 0"),
            ({"eps": 1e-8}, "no argument 'eps'; the nearest is epsilon"),
        ),
        quirks=Quirks(unlike=("decay_rate_fn",), used=used_factored, data=with_large_leaves),
    ),
    Row(
        ol.adafactor,
        adafactor,
        adafactor_settings,
        (
            ({"clipping_threshold": -1}, "threshold must be at least 0, got -1.0"),
            ({"momentum": 1.5}, "momentum must be in [0, 1), got 1.5"),
            ({"momentum": 0.5, "dtype_momentum": int}, "dtype_momentum must be a floating dtype"),
            ({"lr": 0.1}, "no argument 'lr'; write learning_rate"),
        ),
        stands_for=adafactor_parts,
        quirks=Quirks(
            unlike=("dtype_momentum", "weight_decay_mask"),
            used=used_factored,
            data=with_large_leaves,
        ),
    ),
)
