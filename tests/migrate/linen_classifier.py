"""Train a small Flax classifier, with hyperparameters in the state and a warm-up."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

STEPS = 60


class Classifier(nn.Module):
    width: int = 16
    classes: int = 3

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.classes)(nn.LayerNorm()(x))


def make_schedule(peak: float) -> optax.Schedule:
    return optax.join_schedules(
        schedules=[
            optax.linear_schedule(init_value=0.0, end_value=peak, transition_steps=10),
            optax.cosine_decay_schedule(init_value=peak, decay_steps=STEPS - 10, alpha=0.1),
        ],
        boundaries=[10],
    )


def decays(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_optimizer() -> "optax.GradientTransformation":
    adamw = optax.inject_hyperparams(optax.adamw, static_args=("mask",))
    inner = adamw(learning_rate=make_schedule(0.02), b2=0.99, weight_decay=1e-3, mask=decays)
    return optax.chain(optax.clip_by_global_norm(1.0), inner)


def make_data(key):
    x = jax.random.normal(key, (96, 4))
    return x, jnp.argmax(x[:, :3], axis=-1)


def loss_fn(params, apply_fn, x, y):
    logits = apply_fn({"params": params}, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits=logits, labels=y).mean()


@jax.jit
def train_step(state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(state.params, state.apply_fn, x, y)
    return state.apply_gradients(grads=grads), loss, optax.global_norm(grads)


def main():
    model = Classifier()
    x, y = make_data(jax.random.key(0))
    state = train_state.TrainState.create(
        apply_fn=model.apply, params=model.init(jax.random.key(1), x)["params"], tx=make_optimizer()
    )
    first = last = None
    for _ in range(STEPS):
        state, last, _ = train_step(state, x, y)
        first = last if first is None else first
    rate = optax.tree.get(state.opt_state, "hyperparams")["learning_rate"]
    print(f"loss {first:.3f} -> {last:.3f}, learning rate {rate:.4f}")
    return first, last


if __name__ == "__main__":
    main()
