"""Right code of every kind, which `tests/test_types.py` runs, and where checkers find nothing."""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lite as ol
from optax_lite import sweep

params = {"w": jnp.ones(3), "b": jnp.zeros(())}
grads = jax.tree.map(jnp.ones_like, params)
x = jnp.ones((4, 3))
y = jnp.ones(4)


def loss_fn(params: ol.Params, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


# numbers: of Python, of NumPy, of JAX, traced, or schedules of all kinds
ol.adam(1)
ol.adam(0.001, b1=np.float32(0.9), b2=np.array(0.99))
ol.adam(jnp.asarray(1e-3), 0.9, 0.999, 1e-8)
ol.adam(lambda count: 1e-3 * 0.5**count)
ol.adam(lambda count: jnp.where(count > 10, 1e-3, 1e-4), b1=lambda count: 0.9)
ol.adam(ol.cosine_decay_schedule(1e-3, 100), eps=ol.constant_schedule(1e-8))
ol.adam(optax.linear_schedule(1e-3, 0.0, 10))
ol.sgd(1e-2, momentum=None, nesterov=False)
ol.adafactor(None, clipping_threshold=None)
population = jax.vmap(ol.adamw)(jnp.array([1e-3, 1e-2]))
jax.vmap(lambda rate: ol.adamw(rate, weight_decay=0.1))(jnp.array([1e-3, 1e-2]))
jax.jit(lambda rate: ol.adam(rate).init(params))(1e-3)


def warmup(count: jax.Array) -> jax.Array:
    return jnp.minimum(count / 100, 1.0)


def halving(count, every: int = 10):
    return 0.5 ** (count // every)


ol.adamw(warmup)
ol.adamw(partial(halving, every=5))
ol.adamw(halving)


def made(peak: float) -> ol.Schedule:
    return lambda count: peak * 0.5**count


ol.adamw(made(1e-3))

# dtypes, masks, keys
ol.adamw(1e-3, mu_dtype=jnp.bfloat16)
ol.adamw(1e-3, mu_dtype="bfloat16")
ol.adamw(1e-3, mu_dtype=np.dtype("float32"))
ol.adamw(1e-3, mask=None)
ol.adamw(1e-3, mask=True)
ol.adamw(1e-3, mask={"w": True, "b": False})
ol.adamw(1e-3, mask="w")
ol.adamw(1e-3, mask=["!bias", "!norm*"])
ol.adamw(1e-3, mask=re.compile("w$"))
ol.adamw(1e-3, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params))
ol.masked(ol.adam(1e-3), (True, False))
ol.add_noise(0.1, 0.55, 0)
ol.add_noise(0.1, 0.55, jax.random.key(0))
ol.add_noise(0.1, 0.55, seed=1)


class Module(eqx.Module):
    weight: jax.Array | bool


ol.masked(ol.adam(1e-3), Module(True))

# schedules and their arithmetic
rate = ol.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)
value: jax.Array = rate(3)
rate(jnp.arange(3))
both: ol.Schedule = 3.0 * rate + ol.constant_schedule(1e-4)
ol.adam(3.0 * rate)
ol.adam(-(rate - 1e-4) / 2.0)
ol.adam(rate * warmup)
ol.adam(1.0 / (rate + 1.0))
rate.replace(peak_value=1e-2)
ol.join_schedules([ol.constant_schedule(1.0), warmup, lambda count: 0.1], [10, 20])
ol.join_schedules((optax.constant_schedule(1.0), rate), (10,))
ol.piecewise_constant_schedule(1.0, {10: 0.1, 20: 0.5})
ol.piecewise_constant_schedule(1.0, ((10, 0.1), (20, 0.5)))
ol.piecewise_interpolate_schedule("linear", 1.0, {10: 0.1})
ol.sgdr_schedule([{"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 10}])
ol.exponential_decay(1e-3, 10, 0.5, staircase=True, end_value=1e-5)


@ol.schedule
def triangle(height: ol.ScalarOrSchedule, period: float):
    return lambda count: height * jnp.abs(count % period - period / 2)


ol.adam(triangle(1e-3, 10))

# compositions, of optax's transformations and a plain pair too
members: list[ol.GradientTransformation] = [ol.clip_by_global_norm(1.0), ol.adam(1e-3)]
tx = ol.chain(*members)
ol.chain(optax.clip(1.0), ol.adam(1e-3))
ol.chain(ol.clip(jnp.inf), ol.scale_by_adam(), ol.scale_by_learning_rate(rate))
ol.named_chain(("clip", ol.clip(1.0)), ("adam", optax.adam(1e-3)))


class Pair(NamedTuple):
    init: Callable
    update: Callable


ol.chain(Pair(lambda params: (), lambda updates, state, params=None: (updates, state)))
ol.GradientTransformation(lambda params: (), lambda updates, state, params: (updates, state))
ol.partition({"body": ol.adam(1e-3), "head": optax.sgd(0.1)}, {"w": "body", "b": "head"})
ol.partition({"all": ol.adam(1e-3)}, lambda params: "all")
ol.groups(ol.adamw(rate), {("w", "v*"): {"weight_decay": 0.0}, "b": "freeze"}, strict=False)
ol.groups(ol.adamw(1e-3), {"b": {"learning_rate": 10 * rate}})
ol.groups(ol.adamw(1e-3), {"b": ol.sgd(0.1)})
ol.groups(ol.adamw(1e-3), [("b", ol.sgd(0.1)), (re.compile("w"), {"b1": 0.8})])
ol.groups(ol.adamw(1e-3), {lambda path, leaf: leaf.ndim > 0: "freeze"})
ol.accumulate(ol.adam(1e-3), 8)
ol.accumulate(optax.adam(1e-3), lambda step: 1 + step, reduce="mean")
ol.average_params(ol.adam(1e-3), decay=0.99)
ol.average_params(ol.adam(1e-3), decay=None, start=10)
ol.skip_bad_steps(ol.adam(1e-3), outlier=4.0, max_consecutive=5)
ol.lookahead(ol.adam(1e-3), 5, 0.5)
ol.quantize_state(ol.adam(1e-3), keep="embedding")
ol.quantize_state(ol.adam(1e-3), keep=["embedding", re.compile("head")])
ol.with_state_dtype(ol.adam(1e-3), jnp.bfloat16)
ol.with_state_dtype(ol.adam(1e-3), {"nu": jnp.bfloat16})
ol.freeze({"w": True, "b": False})
ol.sam(ol.sgd(0.1), ol.chain(ol.normalize(), ol.sgd(0.05)))
ol.monitor({"norm": ol.global_norm, "slow": ol.measure_with_ema(ol.global_norm, 0.9)})
ol.stateless(lambda updates, params: jax.tree.map(jnp.sign, updates))

# the pair
state = tx.init(params)
updates, state = tx.update(grads, state, params)
updates, state = tx.update(grads, state, params, value=jnp.ones(()), value_fn=loss_fn)
params = ol.apply_updates(params, updates)
params, state = tx.step(grads, state, params)
init, update = tx
tx[0](params)
shapes = tx.init(jax.eval_shape(lambda: params))
tx = tx.replace({"1/learning_rate": 3e-4})
tx = tx.replace(b1=0.8)
numbers: dict[str, float] = dict(tx.hyperparams)
as_argument: ol.GradientTransformation = jax.jit(lambda tx: tx)(tx)
injected = ol.inject_hyperparams(ol.adamw)(learning_rate=rate, b1=0.8)
injected_state = injected.init(params)
ol.set_hyperparams(injected_state, b1=0.7)
ol.inject_hyperparams(ol.adam(1e-3)).init(params)
ol.inject_hyperparams(optax.adam, static_args="nesterov")(1e-3).init(params)
ol.transfer(state, tx, params)
ol.explain(tx, params)
ol.current_hyperparams(tx, state)


# a method of one's own
class SignState(NamedTuple):
    mu: ol.Params


@ol.transform
def scale_by_sign_of_mean(b1: ol.ScalarOrSchedule = 0.9):
    def init(params):
        return SignState(ol.zeros_like(params))

    def update(updates, state):
        def rule(g, m):
            m = b1 * m + (1 - b1) * g
            return jnp.sign(m), m

        updates, mu = ol.leafwise(rule, updates, state.mu)
        return updates, SignState(mu)

    return init, update


@ol.transform(static=("mask",))
def sign_of_mean(learning_rate: ol.ScalarOrSchedule, b1: ol.ScalarOrSchedule = 0.9, mask=None):
    return ol.chain(
        scale_by_sign_of_mean(b1),
        ol.add_decayed_weights(0.1, mask),
        ol.scale_by_learning_rate(learning_rate),
    )


own: ol.GradientTransformation = sign_of_mean(1e-3, b1=rate)
own.update(grads, own.init(params), params)


class Named(ol.GradientTransformation):
    def __init__(self, init, update):
        self.label = "mine"


Named(tx.init, tx.update).label = "yours"

# training
step = ol.make_step(loss_fn, donate=False)
params, state, metrics = step(tx, params, tx.init(params), x, y)
float(metrics["loss"])
step(optax.adam(1e-3), params, optax.adam(1e-3).init(params), x, y)
params, history = ol.fit(loss_fn, params, (x, y), ol.adamw(rate), steps=2, batch_size=2)
ol.fit(loss_fn, params, [(x, y), (x, y)], optax.sgd(1e-2), epochs=1, progress=False)
ol.eval_params(tx, state, params)
result = ol.minimize(lambda p, x: jnp.sum((p - x) ** 2), jnp.zeros(3), args=(jnp.ones(3),))
points: ol.Params = result.x
ol.minimize(lambda p: jnp.sum(p**2), jnp.ones(3), ol.adam(0.1), max_steps=3)

# losses and trees
ol.softmax_cross_entropy_with_integer_labels(jnp.ones((4, 3)), jnp.array([0, 1, 2, 0])).mean()
ol.huber_loss(np.ones(3), np.zeros(3), delta=0.5).sum()
ol.squared_error(1.0, 0.5)
ol.sigmoid_focal_loss(x, jnp.ones((4, 3)), alpha=None, gamma=2.0)
ol.losses.dice_loss(x, jnp.ones((4, 3)), class_weights=None)
ol.tree.norm(ol.tree.scale(2.0, grads))
ol.tree.get(state, "count", None)
ol.incremental_update(params, params, 0.1)
ol.projections.projection_simplex(params, 1.0)

# populations
members_of_space = sweep.sample(
    ol.adamw, 4, learning_rate=sweep.loguniform(1e-4, 1e-1), b1=[0.8, 0.9]
)
