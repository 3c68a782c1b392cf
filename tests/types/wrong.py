"""Lines that a user gets wrong, each of which has to be red in an editor: `tests/test_types.py`.

Those marked "optax" mean the same there, under the same name, so that what is found can be compared
with optax: `python -m tests.test_types`.
"""

import jax.numpy as jnp

import optax_lite as ol

params = {"w": jnp.ones(3)}
grads = {"w": jnp.ones(3)}
batch = jnp.ones(3)
tx = ol.adam(1e-3)
state = tx.init(params)
rate = ol.constant_schedule(1e-3)


def loss_fn(params, x):
    return jnp.sum(params["w"] * x)


# arguments of optimizers
ol.adamw("1e-3")  # wrong, optax: a number in quotes
ol.sgd(0.1, momentum="0.9")  # wrong, optax: a number in quotes by keyword
ol.adam(1e-3, b1=[0.9])  # wrong, optax: a list of numbers
ol.adam(lambda: 1e-3)  # wrong, optax: a schedule that takes no count
ol.adam(ol.sgd)  # wrong, optax: a factory for a rate
ol.adam(lr=1e-3)  # wrong, optax: torch's name
ol.adam(1e-3, beta1=0.9)  # wrong, optax: Keras' name
ol.adam()  # wrong, optax: no learning rate
ol.adam(1e-3, 0.9, 0.999, 1e-8, 0.0, None, True)  # wrong, optax: a keyword by place
ol.adam(1e-3, mu_dtype=3.5)  # wrong, optax: a number for a dtype
ol.adamw(1e-3, mask=3)  # wrong, optax: a number for a mask
ol.adamw(1e-3, weight_decay=None)  # wrong, optax: None for no decay
ol.clip_by_global_norm("1.0")  # wrong, optax: a number in quotes in a transformation

# schedules
ol.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps="10", decay_steps=9)  # wrong, optax: quotes
ol.linear_schedule(1.0, 0.0)  # wrong, optax: no number of steps
ol.join_schedules([1e-3, 1e-4], [10])  # wrong, optax: numbers for schedules
rate()  # wrong, optax: no count

# compositions
ol.chain([ol.adam(1e-3)])  # wrong, optax: a list of members
ol.chain(ol.adam)  # wrong, optax: a factory that was not called
ol.chain(ol.adam(1e-3), 1e-3)  # wrong, optax: a number for a transformation
ol.named_chain(("adam", ol.adam))  # wrong, optax: a named factory
ol.masked(ol.adam(1e-3))  # wrong, optax: no mask
ol.partition({"body": ol.adam}, {"w": "body"})  # wrong, optax: a label's factory
ol.chain(3.0 * rate)  # wrong: a product of schedules is a schedule
ol.accumulate(8, ol.adam(1e-3))  # wrong: two arguments in the other order
ol.groups({"w": "freeze"}, ol.adam(1e-3))  # wrong: rules before the optimizer
ol.lookahead(ol.adam(1e-3), "5", 0.5)  # wrong: a count in quotes
ol.quantize_state(8)  # wrong: no optimizer to quantize
ol.inject_hyperparams(1e-3)  # wrong, optax: no factory
ol.average_params(tx, decay="0.99")  # wrong: a decay in quotes

# the pair
tx.learning_rate = 0.1  # wrong, optax: an optimizer cannot be changed
tx.init()  # wrong, optax: no params
tx.update(grads)  # wrong, optax: no state
tx(grads, state)  # wrong, optax: an optimizer is no function
new, state, metrics = tx.update(grads, state, params)  # wrong, optax: an update is a pair
ol.apply_updates(params)  # wrong, optax: no updates
ol.huber_loss(1.0, 2.0, delta="1")  # wrong, optax: a loss's number in quotes

# training
ol.make_step(loss_fn)(params, state, tx, batch)  # wrong: the optimizer comes first
ol.make_step(loss_fn, True)  # wrong: a keyword by place
ol.fit(loss_fn, params, tx, batch)  # wrong: data and optimizer in the other order
ol.minimize(params, loss_fn)  # wrong: the function comes first
ol.eval_params({}, (), tx)  # wrong: the optimizer comes first
ol.explain(params, tx)  # wrong: params and optimizer in the other order
