"""Numpy reference: weight decay added to the gradient."""


def add_decayed_weights(g, s, w, *, weight_decay):
    """Weight decay term (Krogh & Hertz 1991): g + lambda * w."""
    return g + weight_decay * w, {}
