"""Numpy references: Adafactor."""

import numpy as np


def scale_by_factored_rms(g, s, w, *, factored, decay_rate, step_offset, min_dim_size_to_factor, epsilon):
    """Adafactor's second moment (Shazeer & Stern 2018, Algorithm 4; unfactored: Algorithm 5) and U = G / sqrt(V)."""
    count = 0 if s is None else s["count"]
    # The count runs on from a fine-tuned model; step_offset is where fine-tuning began (optax).
    t = count + 1 - step_offset
    beta2 = 1 - t ** (-decay_rate)
    G2 = np.abs(g) ** 2 + epsilon
    unused = np.zeros((1,))

    # The paper has matrices only. For more axes optax factors the two longest (of equals: the later) and treats
    # the others as a stack of matrices, if the shorter of the two is at least min_dim_size_to_factor.
    by_length = np.argsort(g.shape, kind="stable")
    if not (factored and g.ndim >= 2 and g.shape[by_length[-2]] >= min_dim_size_to_factor):
        V = np.zeros(g.shape) if s is None else s["v"]
        V = beta2 * V + (1 - beta2) * G2
        return g / np.sqrt(V), {"count": count + 1, "v_row": unused, "v_col": unused, "v": V}

    longest, second = by_length[-1], by_length[-2]
    # Means, where the paper has sums (as the authors' tensor2tensor code): the factors 1/n and 1/m cancel in V.
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
        # Not in the paper. optax: joins last, so neither the learning rate nor the momentum touches it.
        step = step + weight_decay_rate * w
    return -step, s_new
