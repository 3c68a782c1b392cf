"""The mutants that no test can notice, each with a proof: the rule, then the change."""

_UNUSED = "the inner where only keeps 0 / 0 out of the branch that the outer one drops: 2 does as well as 1"
_OF_PI = "on CPUs the cosine of π rounds to -1, so that both are 0; elsewhere it need not"
_R_UNUSED = "r is not used where tractable is False; that its derivative is finite there is in laws/test_boundary, nightly"
_EQUAL = "at equality max_norm / norm is 1; that 0 / 0 is kept out is in laws/test_values, zero gradients"
_NO_GRADIENT = "where g is 0 both give 0, and s is 0 only where g is (or too small to be squared)"
_ZERO = (
    "where it is 0 the gradient is; that 0 / 0 is kept out is in laws/test_values, zero gradients"
)
_IS_ZERO = "where it is 0 so is the gradient, whatever it is multiplied by"
_REFUSED = "the numbers are the same; that complex leaves are refused is in laws/test_types"

_CUT_OFF = "what is added on the right is cut off in the same line"
_NEAR = "jnp.square(jnp.sinh(0.5 * jnp.clip(e, {})))"
_NEAR_ONLY = "beyond ±1 near is dropped; the bounds only keep it finite there"
_NO_WEIGHT = "the numerator is 0 where the weight or the sum is, and 0 over any number above 0 is 0"

_FOCUS = "focus = jnp.where(wrong > 0, wrong, {}) ** gamma"
_KEEP = "lambda g, c, w: ({}, jnp.where(fresh, w, c))"
_FIRST_DROPPED = "the first of the two trees that it makes is not used for its numbers"
_PAIRS = "pairs = same & ~jnp.eye(len({}), dtype=bool)"
_PAIRS_SUM = "jnp.maximum(jnp.sum(pairs, dtype={}.dtype), {})"
_ATAN2 = "root = jnp.where({}, {}, b * sqrt(v / c2))"
_TRACTABLE = "tractable = (rho >= threshold) & (rho > 4)"

_NO_SUM = "where ‖s‖₁ is 0 so is r, and 0 over any number is 0; that 0 / 0 is kept out kills the other mutants"

_NO_SLOPE = (
    "a better point of slope 0 is found (the first slope being finite) and ends the search; ahead is 0 only where low "
    "and high are one point"
)
_AXES = "init makes one of each for every axis"

_ON_THE_GRID = "at equality x is a number of the dtype, and both ways of rounding return it"
_NO_NUMBER = "what is nothing is not inexact either, which is asked next"
_NO_COPY = "where the parameter is nothing so is its copy, which slots_of_half makes of it"

_SHARE = "share / jnp.where({}, {}, weight)"
_TAKEN = "{}, jnp.where(c == 1, w, a + c * (w - a))"
_MEAN = "weak_typed(jnp.where({}))"
_BOTH_BEGIN = "both counts begin at 0"
_SPARED = (
    "where every update is due, both branches take in the parameters, and one of them asks first"
)

# Survivors that compute the same, each with the proof: rule, change, proof.
EQUIVALENT: dict[str, dict[str, str]] = {
    "losses.classes._log_softmax": {
        "jnp.zeros_like(logits) -> jnp.ones_like(logits)": "the softmax of equal logits is uniform, whichever they are"
    },
    "losses.ctc.ctc_loss_with_forward_probs": {
        "jnp.pad(spelled, ((0, 0), (2, 0))) -> jnp.pad(spelled, ((0, 0), (2, 1)))": _CUT_OFF,
        "((0, 0), (places, 0)) -> ((0, 0), (places, 1))": _CUT_OFF,
        "jnp.where(frame_off[:, :, None], 0, logits) -> jnp.where(frame_off[:, :, None], 1, logits)": (
            "the softmax of equal logits is uniform, whichever they are, and that of a padded frame is not used"
        ),
        "end > 0 -> end > 1": "end is twice a number of labels, so that to be above 0 is to be above 1",
        "take(last, jnp.maximum(end - 1, 0)) -> take(last, jnp.maximum(end - 1, 1))": (
            "end is even: where it is not 0 end - 1 is at least 1, and where it is 0 this is dropped"
        ),
    },
    "losses.elementwise.log_cosh": {
        f"{_NEAR.format('-1, 1')} -> {_NEAR.format('-2, 1')}": _NEAR_ONLY,
        f"{_NEAR.format('-1, 1')} -> {_NEAR.format('-1, 2')}": _NEAR_ONLY,
        "jnp.log(2.0).astype(e.dtype) -> jnp.log(2.0).astype(near.dtype)": "near is made of e and numbers: one dtype",
    },
    "losses.elementwise.sigmoid_focal_loss": {
        f"{_FOCUS.format(1)} -> {_FOCUS.format(2)}": (
            "where wrong is 0 the cross entropy and its slopes are, whatever they are multiplied by"
        )
    },
    "losses.overlap._inverse_squares": {
        "larger = 1 + jnp.max(size, -1, keepdims=True) -> larger = 2 + jnp.max(size, -1, keepdims=True)": (
            "any number above all sizes: it is the least one only where no class is there, and divided by itself then"
        )
    },
    "losses.overlap._overlap": {
        "pixels = _pixels(axis, targets.shape) -> pixels = _pixels(axis, predictions.shape)": (
            "_check_one_shape has made them equal"
        )
    },
    "losses.vectors._unit": {
        "x / jnp.where(size > 0, size, 1) -> x / jnp.where(size > 0, size, 2)": _UNUSED
    },
    "losses.vectors._divergence": {
        "jnp.abs(jnp.sum(x, axis, where=where) - 1) < _OF_ALL -> jnp.abs(jnp.sum(x, axis, where=where) - 1) <= _OF_ALL": (
            "at equality, to the last digit of a sum, either is within what the comment says"
        )
    },
    "losses.vectors._with_exp": {
        "jnp.where(log_p == -jnp.inf, 0, log_p) -> jnp.where(log_p == -jnp.inf, 1, log_p)": (
            "there p is 0, and so are p·(log p - log q) and its slopes for any finite log p"
        )
    },
    "losses.vectors.ntxent": {
        "unit = _unit(embeddings, 0.0, -1) -> unit = _unit(embeddings, 0.0, 1)": "the last of two axes is axis 1",
        f"{_PAIRS.format('labels')} -> {_PAIRS.format('embeddings')}": "the check before makes them equally many",
        f"{_PAIRS_SUM.format('s', 1)} -> {_PAIRS_SUM.format('unit', 1)}": "s is made of unit and numbers: one dtype",
        f"{_PAIRS_SUM.format('s', 1)} -> {_PAIRS_SUM.format('s', 2)}": (
            "(i, j) and (j, i) are two pairs, so there are 0 (and their sum is 0) or at least 2"
        ),
    },
    "losses.vectors.triplet_margin_loss": {
        "jnp.where(total > 0, total, 1) -> jnp.where(total > 0, total, 2)": _UNUSED
    },
    "optimizers.adagrad.scale_by_rss": {
        "unseen = s == 0 -> unseen = g == 0": _NO_GRADIENT,
        "jnp.where(unseen, 1, s) -> jnp.where(unseen, 2, s)": _UNUSED,
    },
    "optimizers.adam_atan2.scale_by_adam_atan2": {
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('v == 0', 1)}": "where v is 0 m is 0 too, and its angle",
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('m == 1', 1)}": "values agree; the derivative is in laws/test_boundary, nightly",
        f"{_ATAN2.format('m == 0', 1)} -> {_ATAN2.format('m == 0', 2)}": "the angle of m = 0 is 0, whatever the root",
    },
    "optimizers.radam._langevin": {
        "below = 13.0 -> below = 6.5": "the last term is worth less than a rounding error where y is below 1/2",
        "range(11, 1, -2) -> range(11, 2, -2)": "the odd numbers from 11 down end with 3 both times",
    },
    "optimizers.radam._length": {
        "x = -jnp.log(jnp.maximum(b2, 1e-30)) -> x = -jnp.log(jnp.maximum(b2, 5e-31))": "b2 is that small only where the late formula is taken, without x",
        "return jnp.where(t * x < 1, early, late) -> return jnp.where(t * x <= 1, early, late)": "at the boundary the two formulas agree to rounding",
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
    "optimizers.dpsgd.differentially_private_aggregate": {
        "params is not None -> params is None": "a check; that it speaks is in test_noise_and_privacy",
        "max -> min": "all leaves have the same number of examples",
        "default=1 -> default=2": "of a tree without leaves there is nothing to divide",
    },
    "optimizers.polyak_sgd.scale_by_polyak": {
        "size = jnp.where(size == 0, 1, size) -> size = jnp.where(size == 1, 1, size)": _ZERO,
        "size = jnp.where(size == 0, 1, size) -> size = jnp.where(gap == 0, 1, size)": _ZERO,
        "size = jnp.where(size == 0, 1, size) -> size = jnp.where(size == 0, 2, size)": _IS_ZERO,
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
        "g / sqrt(jnp.where(unseen, 1, v + eps)) -> g / sqrt(jnp.where(unseen, 2, v + eps))": _UNUSED,
    },
    "optimizers.dadapt_adamw._dadapt_adamw": {
        "r / jnp.where(size == 0, 1, size) -> r / jnp.where(r == 0, 1, size)": _NO_SUM,
        "r / jnp.where(size == 0, 1, size) -> r / jnp.where(size == 0, 2, size)": _NO_SUM,
    },
    "optimizers.dog.scale_by_distance_over_gradients": {
        "x0 -> r (#2)": "a zero for every leaf, and the dtype of r is that of a sum over the leaf"
    },
    "optimizers.galore._directions": {
        "full_matrices=False -> full_matrices=True": (
            "what comes in addition stands behind the first min(m, n) vectors, and rank is at most that"
        )
    },
    "optimizers.madgrad.scale_by_madgrad": {
        "s / (jnp.cbrt(jnp.where(v == 0, 1, v)) + eps) -> s / (jnp.cbrt(jnp.where(s == 0, 1, v)) + eps)": _NO_GRADIENT,
        "s / (jnp.cbrt(jnp.where(v == 0, 1, v)) + eps) -> s / (jnp.cbrt(jnp.where(v == 0, 2, v)) + eps)": _NO_GRADIENT,
    },
    "optimizers.muon._spectral_norm": {
        "axis=-1 -> axis=1": "on_matrices gives stacks (batch, m, n), so values (batch, k)"
    },
    "optimizers.shampoo._inverse_root": {
        "jnp.finfo(values.dtype).eps * values[..., -1:] -> jnp.finfo(vectors.dtype).eps * values[..., -1:]": (
            "eigenvalues and eigenvectors of real matrices have one dtype, and those of complex ones one precision"
        )
    },
    "optimizers.shampoo.scale_by_shampoo": {
        "(to_blocks(g, block_size), 2 * len(statistics)) -> (to_blocks(g, block_size), 2 * len(roots))": _AXES,
        "range(len(statistics)) -> range(len(roots))": _AXES,
    },
    "optimizers.soap.scale_by_soap": {
        "jnp.where(t % precondition_frequency == 0, 1, 2) -> jnp.where(t % precondition_frequency == 0, 1, 3)": (
            "jax.lax.switch takes the last of three branches for every number from 2 on"
        ),
        "jnp.where(t == 0, m, moving_average(b1, m, g)) -> jnp.where(t == 0, v, moving_average(b1, m, g))": (
            "t is 0 in the first update only, where both are the zeros of init"
        ),
        "turned = jax.tree.leaves(q) -> turned = jax.tree.leaves(gg)": "both have a matrix for every axis that is turned",
        "turned -> back (#2)": "where no axis is turned all three branches return what they get",
        "jnp.finfo(v.dtype).eps * norm(m) -> jnp.finfo(m.dtype).eps * norm(m)": "a complex dtype has the eps of its parts",
    },
    "optimizers.sophia._scale_by_sophia": {
        "lambda h, nu: (h, moving_average(b2, nu, h)) -> lambda h, nu: (nu, moving_average(b2, nu, h))": "the first of the two is dropped"
    },
    "optimizers.prodigy._prodigy": {
        "jnp.where(size == 0, 1, size) -> jnp.where(r == 0, 1, size)": _NO_SUM,
        "jnp.where(size == 0, 1, size) -> jnp.where(size == 0, 2, size)": _NO_SUM,
    },
    "optimizers.momo.model_step": {
        "gap / jnp.where(norm_sq == 0, 1, norm_sq) -> gap / jnp.where(norm_sq == 0, 2, norm_sq)": (
            "where ‖d‖² is 0 so is d, and the step along it for any τ"
        )
    },
    "optimizers.sam.sam": {
        f"{_KEEP.format('g')} -> {_KEEP.format('w')}": _FIRST_DROPPED,
        f"{_KEEP.format('g')} -> {_KEEP.format('c')}": _FIRST_DROPPED,
        "read=(params, cache) -> read=(params, _)": (
            "of a climb only the precision of the two counts, and _ is computed in that of cache"
        ),
    },
    "optimizers.schedule_free.schedule_free": {
        "jnp.where(weight_sum == 0, 1, weight_sum) -> jnp.where(weight_sum == 0, 2, weight_sum)": _NO_WEIGHT
    },
    "core.half.nearest": {
        "exponent_bits=8 -> exponent_bits=9": "float32 has 8 bits of exponent itself, so that 9 change nothing",
        "jnp.abs(x) < _TINY -> jnp.abs(x) <= _TINY": _ON_THE_GRID,
    },
    "core.half.random_bits": {
        "_scrambled(place ^ words[0]) ^ words[1] -> _scrambled(place ^ words[0]) ^ words[2]": (
            "there are two words, and an index of JAX beyond the end is that of the last"
        )
    },
    "core.half.slots_of_half": {
        "is_missing(p) -> is_missing(path)": _NO_NUMBER,
        "is_missing(p) -> is_missing(paths)": _NO_NUMBER,
    },
    "core.half.stochastic": {
        "jnp.abs(x) < _TINY -> jnp.abs(x) <= _TINY": _ON_THE_GRID,
        "jnp.abs(x) <= float(jnp.finfo(dtype).max) -> jnp.abs(x) < float(jnp.finfo(dtype).max)": _ON_THE_GRID,
    },
    "wrappers.master_weights._exact": {
        "p if is_missing(p) or is_missing(m) else m -> p if is_missing(m) or is_missing(m) else m": _NO_COPY
    },
    "wrappers.master_weights._followed": {
        "is_missing(p) or is_missing(m) -> is_missing(m) or is_missing(m)": _NO_COPY
    },
    "_schedules._fraction": {
        "jnp.where(steps > 0, steps, 1.0) -> jnp.where(steps > 0, steps, 2.0)": _UNUSED,
        "1.0 -> 2.0": "what is more than 1 comes from counts beyond the end, where the outer where takes 1",
    },
    "_schedules._whole_periods": {
        "elapsed >= (n + 1.0) * period -> elapsed >= n * period": "the next line takes back one that is too many",
        "n + 1.0 -> n + 2.0": "where one is missing, the next line takes back the second",
    },
    "_schedules._cosine": {
        "fraction < 1.0 -> fraction <= 1.0": _OF_PI,
        "fraction < 1.0 -> fraction < 2.0": _OF_PI,
    },
    "_schedules.cyclic_schedule": {"1.0 -> 2.0": "from 1 on a mean is its end"},
    "_schedules._power": {
        "jnp.where(positive, base, 1.0) ** exponent -> jnp.where(positive, base, 2.0) ** exponent": _UNUSED
    },
    "_schedules.exponential_decay": {
        "decay_rate > 1 -> decay_rate >= 1": "1 to any power is 1, bounded or not"
    },
    "_transforms.cautious.cautious": {
        "u * phi * (float(u.size) / (jnp.sum(phi) + 1)) -> u * phi * (float(g.size) / (jnp.sum(phi) + 1))": (
            "u and g are of one leaf and have one shape, so one size"
        ),
        "g.real.dtype -> g.imag.dtype": "the two parts of a number have one dtype",
        "g.real.dtype -> u.real.dtype": "leafwise computes a leaf in one precision, and real parts alone are meant",
    },
    "_transforms.clip.fit": {
        "most / jnp.where(fits, 1.0, norm) -> most / jnp.where(fits, 2.0, norm)": _UNUSED
    },
    "_transforms.clip.clip": {"real_only=True -> real_only=False": _REFUSED},
    "_transforms.constrain.keep_params_nonnegative": {
        "lambda u, w: jnp.where(w + u < 0, -w, u) -> lambda u, w: jnp.where(w + u <= 0, -w, u)": (
            "at equality w + u is 0, so u and -w are one number"
        ),
        "real_only=True -> real_only=False": _REFUSED,
    },
    "_transforms.constrain.normalize_by_update_norm": {
        "scale_factor / jnp.where(total == 0, 1.0, total) -> scale_factor / jnp.where(total == 1, 1.0, total)": _ZERO,
        "scale_factor / jnp.where(total == 0, 1.0, total) -> scale_factor / jnp.where(total == 0, 2.0, total)": _IS_ZERO,
    },
    "linesearch.backtracking.scale_by_backtracking_linesearch": {
        "longer < max_learning_rate -> longer <= max_learning_rate": "at equality the two are one number"
    },
    "linesearch.zoom.scale_by_zoom_linesearch": {
        "(point.value == s.low.value) & (slope < 0) -> (point.value == s.low.value) & (slope <= 0)": (
            "only with enough decrease does it matter which is lower, and then a point of slope 0 is found (the first "
            "slope being finite)"
        ),
        "jnp.sign(s.high.step - s.low.step) -> s.high.step - s.low.step": "only its sign counts (where the product is not 0)",
        "1 -> 2": "only its sign counts, not its size",
        "turned = better & (point.slope * ahead >= 0) -> turned = point.slope * ahead >= 0": (
            "a point that is not better becomes high and brackets, whether turned or not"
        ),
        "turned = better & (point.slope * ahead >= 0) -> turned = lower & (point.slope * ahead >= 0)": (
            "what is better and not lower is found and ends the search; what is lower and not better becomes high"
        ),
        "turned = better & (point.slope * ahead >= 0) -> turned = better & (point.slope * ahead > 0)": _NO_SLOPE,
        "turned = better & (point.slope * ahead >= 0) -> turned = better & (point.slope / ahead >= 0)": _NO_SLOPE,
    },
    "_transforms.trust_ratio.scale_by_trust_ratio": {
        "jnp.where(u_norm == 0, 1, u_norm + eps) -> jnp.where(u_norm == 0, 2, u_norm + eps)": _IS_ZERO
    },
    "wrappers.accumulate.accumulate": {
        f"{_MEAN.format('num_finite > 0, share, 1')} -> {_MEAN.format(changed)}": (
            "where no gradient is finite the quotient is dropped; 1 keeps 0 / 0 out of it"
        )
        for changed in (
            "num_finite >= 0, share, 1",
            "mini_step > 0, share, 1",
            "num_finite > 0, share, 2",
        )
    },
    "wrappers.accumulate.apply_every": {
        "jnp.where(is_last, total, -jnp.zeros_like(g)) -> jnp.where(is_last, total, -jnp.zeros_like(total))": (
            "a rule sees both in the same dtype and shape"
        )
    },
    "wrappers.accumulate._MultiSteps": {
        "mini_step -> gradient_step": _BOTH_BEGIN,
        "gradient_step -> mini_step": _BOTH_BEGIN,
        "(mini_step, gradient_step, skip_state) -> (gradient_step, gradient_step, skip_state)": _BOTH_BEGIN,
        "(mini_step, gradient_step, skip_state) -> (mini_step, mini_step, skip_state)": _BOTH_BEGIN,
    },
    "wrappers.average.average_params": {
        f"{_SHARE.format('weight == 0', 1)} -> {_SHARE.format('share == 0', 1)}": _NO_WEIGHT,
        f"{_SHARE.format('weight == 0', 1)} -> {_SHARE.format('weight == 0', 2)}": _NO_WEIGHT,
        f"({_TAKEN.format('u')}) -> ({_TAKEN.format('w')})": _FIRST_DROPPED,
        f"({_TAKEN.format('u')}) -> ({_TAKEN.format('a')})": _FIRST_DROPPED,
        "(start, every) == (0, 1) -> (every, every) == (0, 1)": _SPARED,
        "(start, every) == (0, 1) -> (start, start) == (0, 1)": _SPARED,
        "(start, every) == (0, 1) -> (start, tx) == (0, 1)": _SPARED,
    },
}
