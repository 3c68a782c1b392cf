"""Arrays that a user's function closes over are freed with it, although it was compiled."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep

PARAMS = {"w": np.ones(3, np.float32)}


def made():
    """A loss over data of its own, and references to both."""
    data = jnp.asarray(np.eye(8, 3, dtype=np.float32))

    def loss(params, *_):
        return jnp.mean((data @ params["w"]) ** 2)

    return loss, weakref.ref(loss), weakref.ref(data)


def stepped(loss, donate=True):
    step, tx = ol.make_step(loss, donate=donate), ol.adam(0.1)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(2):
        params, state, _ = step(tx, params, state)


def failed(loss):
    def wrong(params, x):
        return loss(params) + x

    with pytest.raises(TypeError, match="must return one number"):
        ol.make_step(wrong)(ol.adam(0.1), PARAMS, ol.adam(0.1).init(PARAMS), jnp.ones(2))


def swept(loss):
    task = sweep.training(lambda key: {"w": jnp.zeros(3)}, loss, jnp.ones(8), steps=2)
    sweep.run(sweep.grid(ol.sgd, learning_rate=[0.1, 0.2]), task, progress=False)


USES = {
    "make_step": stepped,
    "make_step, keeping": lambda loss: stepped(loss, donate=False),
    "make_step, traced": lambda loss: jax.eval_shape(
        lambda x: stepped(lambda p: loss(p) + x), jnp.ones(())
    ),
    "fit": lambda loss: ol.fit(loss, PARAMS, jnp.ones(8), ol.adam(0.1), steps=2),
    "minimize": lambda loss: ol.minimize(loss, PARAMS, max_steps=2),
    "explain_memory": lambda loss: ol.explain_memory(ol.adam(0.1), PARAMS, loss),
    "sweep": swept,
}


@pytest.mark.parametrize("name", USES)
def test_nothing_of_a_loss_is_left(name):
    loss, *references = made()
    USES[name](loss)
    del loss
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_after_an_exception_the_function_is_gone():
    """Of a trace that failed JAX itself keeps the arrays that had entered it."""
    loss, reference, _ = made()
    failed(loss)
    del loss
    gc.collect()
    assert reference() is None


def test_equal_methods_are_one_program():
    class Model:
        traces = 0

        def loss(self, params):
            Model.traces += 1
            return jnp.sum(params["w"] ** 2)

    model, tx = Model(), ol.sgd(0.1)
    first = ol.make_step(model.loss, donate=False)
    first(tx, PARAMS, tx.init(PARAMS))
    second = ol.make_step(model.loss, donate=False)
    del first
    gc.collect()
    second(tx, PARAMS, tx.init(PARAMS))
    assert Model.traces == 1
