"""The mutants that no test can notice, each with its proof: rule, then change."""

_UNUSED = "the inner where only keeps 0 / 0 out of the branch that the outer one drops: 2 does as well as 1"
_EQUAL = "at equality max_norm / norm is 1; that 0 / 0 is kept out is in test_laws, zero gradients"
_NO_GRADIENT = "where g is 0 both give 0, and s is 0 only where g is (or too small to be squared)"

_NO_SUM = "where ‖s‖₁ is 0 so is r, and 0 over any number is 0; that 0 / 0 is kept out kills the other mutants"

# Survivors that compute the same, each with the proof: rule, change, proof.
EQUIVALENT: dict[str, dict[str, str]] = {
    "optimizers.adagrad.scale_by_rss": {
        "unseen = s == 0 -> unseen = g == 0": _NO_GRADIENT,
        "g / sqrt(jnp.where(unseen, 1, s + eps)) -> g / sqrt(jnp.where(unseen, 2, s + eps))": _UNUSED,
    },
    "optimizers.dadapt_adamw._dadapt_adamw": {
        "r / jnp.where(size == 0, 1, size) -> r / jnp.where(r == 0, 1, size)": _NO_SUM,
        "r / jnp.where(size == 0, 1, size) -> r / jnp.where(size == 0, 2, size)": _NO_SUM,
    },
    "optimizers.dog.scale_by_distance_over_gradients": {
        "x0 -> r (#2)": "a zero for every leaf, and the dtype of r is that of a sum over the leaf",
    },
    "optimizers.madgrad.scale_by_madgrad": {
        "s / (jnp.cbrt(jnp.where(v == 0, 1, v)) + eps) -> s / (jnp.cbrt(jnp.where(s == 0, 1, v)) + eps)": _NO_GRADIENT,
        "s / (jnp.cbrt(jnp.where(v == 0, 1, v)) + eps) -> s / (jnp.cbrt(jnp.where(v == 0, 2, v)) + eps)": _NO_GRADIENT,
    },
    "optimizers.prodigy._prodigy": {
        "jnp.where(size == 0, 1, size) -> jnp.where(r == 0, 1, size)": _NO_SUM,
        "jnp.where(size == 0, 1, size) -> jnp.where(size == 0, 2, size)": _NO_SUM,
    },
    "optimizers.sign_sgd.signum": {
        "debias=False -> debias=True": "a positive factor leaves the sign, and the state holds the average without it",
    },
    "schedules._fraction": {
        "elapsed / jnp.where(steps > 0, steps, 1.0) -> elapsed / jnp.where(steps > 0, steps, 2.0)": _UNUSED,
    },
    "schedules._power": {
        "jnp.where(positive, base, 1.0) ** exponent -> jnp.where(positive, base, 2.0) ** exponent": _UNUSED,
    },
    "schedules.exponential_decay": {
        "decay_rate > 1 -> decay_rate >= 1": "1 to any power is 1, bounded or not",
    },
    "transforms.clip.clip_by_global_norm": {
        "fits = norm <= max_norm -> fits = norm < max_norm": _EQUAL,
        "max_norm / jnp.where(fits, 1.0, norm) -> max_norm / jnp.where(fits, 2.0, norm)": _UNUSED,
    },
}
