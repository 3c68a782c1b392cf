"""Numpy references: weight decay added to the gradient or to the step."""


def add_decayed_weights(g, s, w, *, weight_decay):
    """Weight decay term (Krogh & Hertz 1991): g + lambda * w."""
    return g + weight_decay * w, {}


def independent_weight_decay(g, s, w, *, weight_decay, decayed=True):
    """Independent weight decay (Wortsman et al. 2023b, "Small-scale proxies", section 3.2.2): step - lambda * w."""
    # g is a finished step, to be added to w: the learning rate is in it and must not multiply the decay.
    if not decayed:
        return g, {}
    return g - weight_decay * w, {}
