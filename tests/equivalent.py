"""The mutants that no test can notice, each with its proof: rule, then change."""

_UNUSED = "the inner where only keeps 0 / 0 out of the branch that the outer one drops: 2 does as well as 1"
_R_UNUSED = "r is not used where tractable is False; that its derivative is finite there is in test_laws"
_EQUAL = "at equality max_norm / norm is 1; that 0 / 0 is kept out is in test_laws, zero gradients"
_NO_GRADIENT = "where g is 0 both give 0, and s is 0 only where g is (or too small to be squared)"
_NO_RATE = "without a rate that part is the identity; that the state has no place for it is in test_optax_parity"
_REFUSED = "the numbers are the same; that complex leaves are refused is in test_laws"

_ATAN2 = "root = jnp.where({}, {}, b * sqrt(v / c2))"
_TRACTABLE = "tractable = (rho >= threshold) & (rho > 4)"

# Survivors that compute the same, each with the proof: rule, change, proof.
EQUIVALENT: dict[str, dict[str, str]] = {
    "optimizers.adagrad.scale_by_rss": {
        "unseen = s == 0 -> unseen = g == 0": _NO_GRADIENT,
        "jnp.where(unseen, 1, s) -> jnp.where(unseen, 2, s)": _UNUSED,
    },
    "optimizers.adam_atan2.scale_by_adam_atan2": {
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('v == 0', 1)}": "where v is 0 m is 0 too, and its angle",
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('m == 1', 1)}": "values agree; the derivative is in test_laws",
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('m == 0', 2)}": "the angle of m = 0 is 0, whatever the root",
    },
    "optimizers.radam._langevin": {
        "below = 13.0 -> below = 6.5": "the last term is worth less than a rounding error where y is below 1/2",
        "range(11, 1, -2) -> range(11, 2, -2)": "both end with 3",
    },
    "optimizers.radam._length": {
        "x = -jnp.log(jnp.maximum(b2, 1e-30)) -> x = -jnp.log(jnp.maximum(b2, 5e-31))": "then x is not used",
        "return jnp.where(t * x < 1, early, late) -> return jnp.where(t * x <= 1, early, late)": "both are right there",
    },
    "optimizers.radam.scale_by_radam": {
        f"{_TRACTABLE} -> tractable = (rho > threshold) & (rho > 4)": "ρ equals a threshold above 4 by chance only",
        f"{_TRACTABLE} -> tractable = (rho >= threshold) & (rho >= 4)": "ρ equals 4 by chance only",
        "tractable -> rho_inf": _R_UNUSED,
        "tractable -> rho_inf (#2)": _R_UNUSED,
        "tractable -> above (#2)": _R_UNUSED,
        "1.0 -> 2.0": _R_UNUSED,
        "1.0 -> 2.0 (#2)": _R_UNUSED,
    },
    "optimizers.adafactor.adafactor": {
        "learning_rate is None -> eps is None": _NO_RATE,
        "learning_rate is None -> min_dim_size_to_factor is None": _NO_RATE,
    },
    "optimizers.rprop.scale_by_rprop": {
        "jnp.where(agreement > 0, eta_plus, eta_minus) -> jnp.where(agreement >= 0, eta_plus, eta_minus)": (
            "where it is 0 the step stays as it was, whatever it would be multiplied by"
        ),
        "agreement = jnp.sign(g) * previous -> agreement = g * previous": (
            "only its sign counts, and that of g spares a product too small for the dtype"
        ),
        "real_only=True -> real_only=False": _REFUSED,
    },
    "optimizers.sm3.scale_by_sm3": {
        "b2 * _smallest(mu, g.shape) -> b2 * _smallest(mu, m.shape)": "the two have one shape",
        "seen -> v": "v is a sum of squares, so that not to be 0 is to be above 0",
        "g / sqrt(jnp.where(seen, v + eps, 1)) -> g / sqrt(jnp.where(v, v + eps, 1))": "as for seen -> v",
        "g / sqrt(jnp.where(seen, v + eps, 1)) -> g / sqrt(jnp.where(seen, v + eps, 2))": _UNUSED,
    },
    "optimizers.sign_sgd.signum": {
        "debias=False -> debias=True": "a positive factor leaves the sign, and the state holds the average without it"
    },
    "schedules._fraction": {
        "elapsed / jnp.where(steps > 0, steps, 1.0) -> elapsed / jnp.where(steps > 0, steps, 2.0)": _UNUSED
    },
    "schedules._power": {
        "jnp.where(positive, base, 1.0) ** exponent -> jnp.where(positive, base, 2.0) ** exponent": _UNUSED
    },
    "schedules.exponential_decay": {"decay_rate > 1 -> decay_rate >= 1": "1 to any power is 1, bounded or not"},
    "transforms.cautious.cautious": {
        "return u * phi * (u.size / (jnp.sum(phi) + 1)) -> return u * phi * (g.size / (jnp.sum(phi) + 1))": "the same"
    },
    "transforms.clip.clip_by_global_norm": {
        "fits = norm <= max_norm -> fits = norm < max_norm": _EQUAL,
        "max_norm / jnp.where(fits, 1.0, norm) -> max_norm / jnp.where(fits, 2.0, norm)": _UNUSED,
    },
}
