"""Numpy references: multiplication by a step size."""


def scale(g, s, w, *, step_size):
    """Plain scaling of the gradient (no paper; the step eta * g of gradient descent without its sign)."""
    return step_size * g, {}


def scale_by_learning_rate(g, s, w, *, learning_rate, flip_sign=True):
    """Gradient descent step (Cauchy 1847), -eta * g; flip_sign=False keeps the sign of g."""
    return (-learning_rate * g if flip_sign else learning_rate * g), {}


def scale_by_schedule(g, s, w, *, step_size_fn):
    """Scaling with a step-dependent step size (Robbins & Monro 1951); step_size_fn is the number at this step."""
    count = 0 if s is None else s["count"]
    return step_size_fn * g, {"count": count + 1}
