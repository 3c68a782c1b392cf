"""Write your own transformation in ten lines: the cautious mask, which holds back the entries that
go against the gradient.

The rule agrees with numpy, wraps Adam inside a chain, and is swept over its hyperparameter by
`jax.vmap`, without any code for that. It runs in seconds: python examples/custom_transform.py
"""

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite import chain, leafwise, scale_by_adam, scale_by_learning_rate, trace, transform


@transform
def cautious(inner, keep=0.0):
    """Multiply the direction u of `inner` by `keep` where u·g ≤ 0. Liang et al. 2024, without their
    rescaling.
    """

    def rule(u, g):  # one array; trees, None, dtypes and schedules are handled elsewhere
        return jnp.where(u * g > 0, u, keep * u)

    def update(grads, state, params=None, **extra):
        directions, state = inner.update(grads, state, params, **extra)
        return leafwise(rule, directions, read=(grads,)), state

    return inner.init, update


def check_against_numpy(steps=50, decay=0.9, keep=0.25):
    tx = cautious(trace(decay), keep)
    state, t = tx.init(jnp.zeros(4)), np.zeros(4)
    for g in np.random.default_rng(0).normal(size=(steps, 4)).astype(np.float32):
        updates, state = tx.update(jnp.asarray(g), state)
        t = g + decay * t
        expected = np.where(t * g > 0, t, keep * t)
        np.testing.assert_allclose(updates, expected, rtol=1e-5, atol=1e-6)
    print(f"{tx} agrees with numpy over {steps} steps\n")


def rosenbrock(p):
    return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2


def minimum_reached(tx, steps=500):
    def step(carry, _):
        params, state = carry
        return tx.step(jax.grad(rosenbrock)(params), state, params), None

    params = {"x": jnp.array(-1.5), "y": jnp.array(2.0)}
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=steps)
    return rosenbrock(params)


def cautious_adam(learning_rate, keep):
    return chain(cautious(scale_by_adam(), keep), scale_by_learning_rate(learning_rate))


def main():
    check_against_numpy()
    keeps = jnp.linspace(0.0, 1.0, 6)
    population = jax.vmap(cautious_adam, in_axes=(None, 0))(0.1, keeps)
    print(
        "Rosenbrock's function after 500 steps, by the share of an opposing update that is kept "
        "(1 is plain Adam):"
    )
    for keep, value in zip(keeps, jax.jit(jax.vmap(minimum_reached))(population), strict=True):
        print(f"  keep {keep:.1f}: {value:.1e}")


if __name__ == "__main__":
    main()
