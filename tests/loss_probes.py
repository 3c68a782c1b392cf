"""Facts about losses that no case of `loss_cases` states: module -> {name: agrees}, as in `probes`."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.check import ArgumentError
from tests.loss_cases import LOGITS, PADDED, TEXT, WORDS, WORDS_PADDED
from tests.reference import losses as reference

Namespace = dict[str, Any]

# --- classes ---------------------------------------------------------------------------------------------------------


def _no_class_is_seen(namespace: Namespace) -> bool:
    """NaN is the loss of a label that is not one of the classes."""
    scores, labels = np.arange(20.0).reshape(5, 4) % 7, np.array([0, -1, 4, -4, 3])
    names = "softmax_cross_entropy_with_integer_labels", "multiclass_hinge_loss", "multiclass_perceptron_loss"
    found = [np.isnan(namespace[name](scores, labels)).tolist() for name in names]
    return found == 3 * [[False, True, True, True, False]]


def _mask_of_others_is_refused(namespace: Namespace) -> bool:
    """A mask fits the logits, not only the labels, which may be the same for all examples."""
    try:
        namespace["softmax_cross_entropy"](np.ones((2, 5)), np.ones((1, 5)), where=np.ones((3, 5), bool))
    except ArgumentError as error:
        return "got logits (2, 5), where (3, 5)" in str(error)
    return False


# --- sequences -------------------------------------------------------------------------------------------------------


def spelled(path, blank=0):
    """What a path of classes spells: repeats as one, then without blanks."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def _forward_is_a_sum_over_paths(namespace: Namespace) -> bool:
    logits, word = jnp.asarray(LOGITS[:1]), [1, 1, 2]
    forward = jax.jit(namespace["ctc_loss_with_forward_probs"])
    loss, blank, label = forward(logits, PADDED[:1], WORDS[:1], WORDS_PADDED[:1])
    log_p = np.asarray(jax.nn.log_softmax(logits[0]))
    assert blank.shape == (5, 1, 4) and label.shape == (5, 1, 3)
    np.testing.assert_allclose(loss, reference.ctc_loss(*(x[:1] for x in TEXT)), rtol=1e-12)
    for t, n in itertools.product(range(5), range(4)):
        paths = [path for path in itertools.product(range(3), repeat=t + 1) if spelled(path) == word[:n]]
        for ends_blank, found in ((True, blank), (False, label)):
            mine = [sum(log_p[i, k] for i, k in enumerate(p)) for p in paths if (p[-1] == 0) == ends_blank]
            if mine:
                value = found[t, 0, n if ends_blank else n - 1]
                np.testing.assert_allclose(value, np.logaddexp.reduce(mine), rtol=1e-12)
    return True


def _impossible_costs_1e5(namespace: Namespace) -> bool:
    """Two frames cannot spell three labels; by default that costs about 1e5."""
    short = (LOGITS[:, :2], PADDED[:, :2], WORDS, 0 * WORDS_PADDED)
    found = namespace["ctc_loss"](*short), namespace["ctc_loss_with_forward_probs"](*short)[0]
    return all(np.allclose(loss, 1e5, rtol=0.01) for loss in found)


def _nothing_to_spell(namespace: Namespace) -> bool:
    """Without labels all frames are blank; there is one blank to be at, and no label."""
    loss, blank, label = namespace["ctc_loss_with_forward_probs"](LOGITS, 0 * PADDED, WORDS[:, :0], WORDS_PADDED[:, :0])
    expected = np.cumsum(reference.log_softmax(LOGITS, -1)[:, :, 0], 1)
    assert blank.shape == (5, 2, 1) and label.shape == (5, 2, 0)
    return np.allclose(blank[:, :, 0], expected.T, rtol=1e-12) and np.allclose(loss, -expected[:, -1], rtol=1e-12)


def _takes_lists(namespace: Namespace) -> bool:
    return np.allclose(namespace["ctc_loss"](*(x.tolist() for x in TEXT)), reference.ctc_loss(*TEXT), rtol=1e-12)


LOSS_PROBES: dict[str, dict[str, Callable[[Namespace], bool]]] = {
    "optax_lite.losses.classes": {"no class": _no_class_is_seen, "mask": _mask_of_others_is_refused},
    "optax_lite.losses.ctc": {
        "forward": _forward_is_a_sum_over_paths,
        "impossible": _impossible_costs_1e5,
        "nothing": _nothing_to_spell,
        "lists": _takes_lists,
    },
}
