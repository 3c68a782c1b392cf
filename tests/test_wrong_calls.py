"""Every public function has a wrong call, here or in the table of wrong calls, whose message names
the argument or the leaf.
"""

import re
import types
from operator import attrgetter

import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from optax_lite import sweep
from tests.methods import ROWS
from tests.wrong_calls import GRADS, PARAMS

ADAM = ol.adam(0.1)
STATE = ADAM.init(PARAMS)
POPULATION = jax.vmap(ol.adam)(jnp.array([0.1, 0.2, 0.3]))
W, LABELS = jnp.ones((4, 3)), jnp.zeros(4, int)
LESS = {"w": jnp.ones(3)}  # the params without a layer


def loss(params, x=None, y=None):
    return jnp.sum(params["w"] ** 2) + jnp.sum(params["layer"]["b"] ** 2)


def of_x(params, x, y):
    return jnp.mean((x @ params["w"] - y) ** 2)


X, Y = jnp.ones((8, 3)), jnp.ones(8)

# By the function it is about: a wrong call and what its error must say.
WRONG = {
    # the pair: made, composed, applied
    "apply_updates": (
        lambda: ol.apply_updates(PARAMS, ADAM.update(GRADS, STATE, PARAMS)),
        (
            "apply_updates: got the pair that tx.update returns; write updates, state = "
            "tx.update(grads, state, params)"
        ),
    ),
    "chain": (
        lambda: ol.chain([ol.clip(1.0), ADAM]),
        "chain: member 0 is a list of transformations; pass them one by one, chain(*members)",
    ),
    "identity": (
        lambda: ol.identity(ADAM),
        "identity: too many positional arguments; its signature is ()",
    ),
    "incremental_update": (
        lambda: ol.incremental_update(LESS, {"w": jnp.ones(2)}, 0.1),
        "leaf 'w': cannot mix float32[3] into float32[2]",
    ),
    "masked": (
        lambda: ol.masked(ADAM),
        "masked: missing a required argument: 'mask'; its signature is (inner, mask",
    ),
    "multi_transform": (
        lambda: ol.multi_transform([ADAM], "a"),
        "transforms must be a dict whose keys (the labels) have one type",
    ),
    "named_chain": (
        lambda: ol.named_chain(clip=ol.clip(1.0)),
        "named_chain() got an unexpected keyword argument 'clip'; write named_chain((",
    ),
    "orthogonalize": (
        lambda: ol.orthogonalize(jnp.ones(3)),
        "orthogonalize: x must have at least two axes, got float32[3]",
    ),
    "partition": (
        lambda: ol.partition({"a": ADAM}, {"w": "a", "layer": "b"}).init(PARAMS),
        "leaf 'layer' has the label 'b', but transforms has only ['a']",
    ),
    "schedule": (lambda: ol.schedule(3), "schedule: the builder must be a function, got 3"),
    "stateless": (lambda: ol.stateless(3), "stateless: f must be a function, got 3"),
    "stateless_with_tree_map": (
        lambda: ol.stateless_with_tree_map(0.1),
        "stateless_with_tree_map: f must be a function, got 0.1",
    ),
    "transform": (lambda: ol.transform(3), "transform: the builder must be a function, got 3"),
    "with_extra_args_support": (
        lambda: ol.with_extra_args_support(ol.adam),
        "with_extra_args_support: tx must be an optimizer, got function; call it: adam(...)",
    ),
    # schedules
    "constant_schedule": (
        lambda: ol.constant_schedule("0.1"),
        "constant_schedule: value must be a number or a schedule, got '0.1'",
    ),
    "cosine_decay_schedule": (
        lambda: ol.cosine_decay_schedule(0.1, T_max=100),
        "cosine_decay_schedule: no argument 'T_max'; write decay_steps",
    ),
    "cosine_onecycle_schedule": (
        lambda: ol.cosine_onecycle_schedule(-5, 0.1),
        "cosine_onecycle_schedule: transition_steps must be above 0, got -5.0",
    ),
    "cyclic_schedule": (
        lambda: ol.cyclic_schedule(0.0, 1.0, 0),
        "cyclic_schedule: half_cycle_steps must be above 0, got 0.0",
    ),
    "exponential_decay": (
        lambda: ol.exponential_decay(0.1, 0, 0.9),
        "exponential_decay: transition_steps must be above 0, got 0.0",
    ),
    "inverse_sqrt_schedule": (
        lambda: ol.inverse_sqrt_schedule(0.1, -1),
        "inverse_sqrt_schedule: warmup_steps must be",
    ),
    "join_schedules": (
        lambda: ol.join_schedules([ol.constant_schedule(1.0)] * 3, [5, 2]),
        "join_schedules: the boundaries must increase, got [5.0, 2.0]",
    ),
    "linear_onecycle_schedule": (
        lambda: ol.linear_onecycle_schedule(0, 0.1),
        "linear_onecycle_schedule: transition_steps must be above 0, got 0.0",
    ),
    "linear_schedule": (
        lambda: ol.linear_schedule(1.0, 0.0, -1),
        "linear_schedule: transition_steps must be above 0, got -1.0",
    ),
    "piecewise_constant_schedule": (
        lambda: ol.piecewise_constant_schedule(1.0, {"a": 0.1}),
        (
            "piecewise_constant_schedule: the keys of boundaries_and_scales must be counts of "
            "updates, got ['a']"
        ),
    ),
    "piecewise_interpolate_schedule": (
        lambda: ol.piecewise_interpolate_schedule("quad", 1.0, {5: 0.1}),
        "piecewise_interpolate_schedule: interpolate_type must be 'linear' or 'cosine', got 'quad'",
    ),
    "polynomial_schedule": (
        lambda: ol.polynomial_schedule(1.0, 0.0, 1),
        (
            "polynomial_schedule: missing a required argument: 'transition_steps'; its signature "
            "is (init_value, end"
        ),
    ),
    "sgdr_schedule": (
        lambda: ol.sgdr_schedule([{"lr": 1}]),
        "sgdr_schedule: no argument 'lr'; the arguments are init_value",
    ),
    "warmup_constant_schedule": (
        lambda: ol.warmup_constant_schedule(0.0, 1.0, num_warmup_steps=5),
        "warmup_constant_schedule: no argument 'num_warmup_steps'; write warmup_steps",
    ),
    "warmup_cosine_decay_schedule": (
        lambda: ol.warmup_cosine_decay_schedule(0.0, 1.0, 100, 10),
        (
            "warmup_cosine_decay_schedule: decay_steps includes the warm-up and must exceed "
            "warmup_steps=100.0, got 10.0"
        ),
    ),
    "warmup_exponential_decay_schedule": (
        lambda: ol.warmup_exponential_decay_schedule(0.0, 1.0, 10, 0, 0.9),
        "warmup_exponential_decay_schedule: transition_steps must be above 0, got 0.0",
    ),
    "warmup_stable_decay_schedule": (
        lambda: ol.warmup_stable_decay_schedule(0.1),
        "warmup_stable_decay_schedule: missing a required argument",
    ),
    # losses
    "convex_kl_divergence": (
        lambda: ol.convex_kl_divergence(W, W.T),
        "got log_predictions (4, 3), targets (3, 4)",
    ),
    "cosine_distance": (
        lambda: ol.cosine_distance(W, W.T),
        "cosine_distance: the shapes must be equal along axis -1",
    ),
    "cosine_similarity": (
        lambda: ol.cosine_similarity(W, W.T),
        "cosine_similarity: the shapes must be equal along",
    ),
    "ctc_loss": (
        lambda: ol.ctc_loss(W[None], W[None, :, 0], LABELS[None], jnp.ones((1, 3))),
        (
            "(batch, labels), got logits (1, 4, 3), labels (1, 4), logit_paddings (1, 4), "
            "label_paddings (1, 3)"
        ),
    ),
    "ctc_loss_with_forward_probs": (
        lambda: ol.ctc_loss_with_forward_probs(
            W[None], W[None, :, 0], LABELS[None], LABELS[None], blank_id=5
        ),
        "ctc_loss_with_forward_probs: blank_id must be one of the 3 classes, got 5",
    ),
    "generalized_kl_divergence": (
        lambda: ol.generalized_kl_divergence(W, None),
        "generalized_kl_divergence: targets must be an array, got None",
    ),
    "hinge_loss": (
        lambda: ol.hinge_loss(W, W[:, :1]),
        "hinge_loss: predictor_outputs have shape (4, 3), targets (4, 1): nothing is broadcast",
    ),
    "huber_loss": (
        lambda: ol.huber_loss(W, delta=-1.0),
        "huber_loss: delta must be at least 0, got -1.0",
    ),
    "kl_divergence": (
        lambda: ol.kl_divergence(W, W.T),
        "kl_divergence: the shapes must be equal along axis -1",
    ),
    "l2_loss": (
        lambda: ol.l2_loss(jnp.ones((4, 1)), jnp.ones(4)),
        (
            "l2_loss: predictions have shape (4, 1), targets (4,): nothing is broadcast; reshape "
            "one of them"
        ),
    ),
    "log_cosh": (
        lambda: ol.log_cosh(PARAMS),
        "log_cosh: predictions must be an array, got a dict of 2 leaves",
    ),
    "ntxent": (
        lambda: ol.ntxent(W, LABELS[:3]),
        "ntxent: embeddings must have shape (n, d) and labels (n,)",
    ),
    "safe_softmax_cross_entropy": (
        lambda: ol.safe_softmax_cross_entropy(W, LABELS),
        (
            "logits have shape (4, 3), labels (4,); for class numbers use "
            "softmax_cross_entropy_with_integer_labels"
        ),
    ),
    "sigmoid_binary_cross_entropy": (
        lambda: ol.sigmoid_binary_cross_entropy(W, W[:, 0]),
        (
            "sigmoid_binary_cross_entropy: logits have shape (4, 3), labels (4,): nothing is "
            "broadcast"
        ),
    ),
    "sigmoid_focal_loss": (
        lambda: ol.sigmoid_focal_loss(W, W[:, 0]),
        "sigmoid_focal_loss: logits have shape (4, 3), labels (4,): nothing is broadcast",
    ),
    "smooth_labels": (
        lambda: ol.smooth_labels(W, 1.5),
        "smooth_labels: alpha must be in [0, 1], got 1.5",
    ),
    "softmax_cross_entropy": (
        lambda: ol.softmax_cross_entropy(W, W, reduction="mean"),
        (
            "softmax_cross_entropy: no argument 'reduction'; losses are returned per example; "
            "take jnp.mean(...)"
        ),
    ),
    "softmax_cross_entropy_with_integer_labels": (
        lambda: ol.softmax_cross_entropy_with_integer_labels(W, jnp.ones(4)),
        (
            "softmax_cross_entropy_with_integer_labels: labels must be integers (class numbers), "
            "got float"
        ),
    ),
    "squared_error": (
        lambda: ol.squared_error(W, W[0]),
        "squared_error: predictions have shape (4, 3), targets (3,): nothing is broadcast",
    ),
    # transforms that take no numbers
    "centralize": (lambda: ol.centralize(0.1), "centralize: too many positional arguments"),
    "hutchinson_estimator_diag_hessian": (
        lambda: ol.hutchinson_estimator_diag_hessian("x"),
        (
            "hutchinson_estimator_diag_hessian: random_seed must be an int seed or a random key, "
            "got 'x'"
        ),
    ),
    "keep_params_nonnegative": (
        lambda: (tx := ol.keep_params_nonnegative()).update(GRADS, tx.init(PARAMS)),
        (
            "keep_params_nonnegative: update needs the parameters; write tx.update(grads, state, "
            "params)"
        ),
    ),
    "normalize": (lambda: ol.normalize(1.0), "normalize: too many positional arguments"),
    "per_example_global_norm_clip": (
        lambda: ol.per_example_global_norm_clip(GRADS, 1.0),
        (
            "per_example_global_norm_clip: all gradients must have the same number of examples "
            "along the first axis, got "
        ),
    ),
    "per_example_layer_norm_clip": (
        lambda: ol.per_example_layer_norm_clip(GRADS, 1.0),
        (
            "per_example_layer_norm_clip: all gradients must have the same number of examples "
            "along the first axis, got "
        ),
    ),
    "scale_by_optimistic_gradient": (
        lambda: ol.scale_by_optimistic_gradient(alpha="x"),
        "scale_by_optimistic_gradient: alpha must be a number or a schedule, got 'x'",
    ),
    "scale_by_sign": (
        lambda: ol.scale_by_sign(0.1),
        "scale_by_sign: too many positional arguments",
    ),
    "set_to_zero": (
        lambda: ol.set_to_zero("encoder"),
        "set_to_zero: too many positional arguments",
    ),
    "value_and_grad_from_state": (
        lambda: ol.value_and_grad_from_state(loss)(PARAMS, state=STATE),
        "value_and_grad_from_state: the state must hold exactly one line search, got 0",
    ),
    "zero_nans": (lambda: ol.zero_nans(True), "zero_nans: too many positional arguments"),
    # around an optimizer
    "eval_params": (
        lambda: ol.eval_params(PARAMS, STATE, ADAM),
        (
            "eval_params: the order is eval_params(tx, state, params), got dict, tuple, "
            "GradientTransformation"
        ),
    ),
    "freeze": (
        lambda: ol.freeze("kernel").init(PARAMS),
        "the pattern 'kernel' matches no leaf; the nearest paths: ",
    ),
    "groups": (
        lambda: ol.groups(ADAM, {"w": {"lr": 0.1}}).init(PARAMS),
        "groups: the rule 'w': no argument 'lr'; write learning_rate",
    ),
    "inject_hyperparams": (
        lambda: ol.inject_hyperparams(0.1),
        (
            "inject_hyperparams: write inject_hyperparams(adamw)(1e-3) or "
            "inject_hyperparams(adamw(1e-3)), got 0.1"
        ),
    ),
    "microbatch_value_and_grad": (
        lambda: ol.microbatch_value_and_grad(of_x, 3)(LESS, X, Y),
        (
            "microbatch_value_and_grad: argument 1 has shape (8, 3); its first axis must be "
            "divisible by n = 3"
        ),
    ),
    "periodic_update": (
        lambda: ol.periodic_update(PARAMS, LESS, 1, 2),
        (
            "the new tensors and the old tensors have different structures: 'layer/b' only in the "
            "new tensors"
        ),
    ),
    "reset": (
        lambda: ol.reset(ADAM, STATE, PARAMS),
        "reset: the order is reset(state, tx, params), got Gradient",
    ),
    "schedule_free_eval_params": (
        lambda: ol.schedule_free_eval_params(STATE, PARAMS),
        "schedule_free_eval_params: state must be a ScheduleFreeState, got tuple",
    ),
    "selective_transform": (
        lambda: ol.selective_transform(ADAM),
        # Python 3.13 says "a required keyword-only argument".
        "argument: 'freeze_mask'; its signature is (optimizer, *, freeze_mask)",
    ),
    "set_hyperparams": (
        lambda: ol.set_hyperparams(ADAM, learning_rate=0.1),
        "set_hyperparams: got an optimizer, not a state; change an optimizer with tx.replace(...)",
    ),
    "skip_large_updates": (
        lambda: ol.skip_large_updates(GRADS, 0, PARAMS),
        (
            "skip_large_updates() missing 1 required positional argument: 'max_squared_norm'; "
            "write MultiSteps(tx, k, "
        ),
    ),
    "skip_not_finite": (
        lambda: ol.skip_not_finite(),
        "skip_not_finite() missing 3 required positional",
    ),
    "transfer": (
        lambda: ol.transfer(ADAM, STATE, PARAMS),
        "transfer: the order is transfer(state, tx, params), got",
    ),
    # precision
    "scale_loss": (
        lambda: ol.scale_loss(STATE, 1.0),
        "scale_loss: the state has no loss scale; wrap the optimizer in loss_scaling(tx)",
    ),
    # what is going on
    "current_hyperparams": (
        lambda: ol.current_hyperparams(STATE, ADAM),
        (
            "current_hyperparams: tx must be an optimizer, got tuple; the order is "
            "current_hyperparams(tx, state)"
        ),
    ),
    "explain": (
        lambda: ol.explain(PARAMS, ADAM),
        "explain: tx must be an optimizer, got dict; the order is explain(tx, params)",
    ),
    "explain_memory": (
        lambda: ol.explain_memory(ADAM, PARAMS, (X, Y)),
        (
            "explain_memory: loss_fn must be a function of the params, got a tuple of 2 leaves; "
            "the order is"
        ),
    ),
    "measure_with_ema": (
        lambda: ol.measure_with_ema(0.9, ol.global_norm),
        "measure_with_ema: measure must be a function of the updates, got 0.9",
    ),
    "monitor": (
        lambda: ol.monitor(ol.global_norm),
        "monitor: measures must be a dict of names to functions of the updates",
    ),
    "read_metrics": (
        lambda: ol.read_metrics(STATE),
        "read_metrics: the state has no metrics; wrap the optimizer in with_metrics(tx)",
    ),
    "snapshot": (
        lambda: ol.snapshot(ol.global_norm),
        (
            "snapshot: missing a required argument: 'measure'; its signature is (measure_name, "
            "measure)"
        ),
    ),
    # training
    "fit": (
        lambda: ol.fit(of_x, LESS, (X, Y[:4]), ADAM, steps=2, batch_size=2),
        (
            "fit: all arrays must have the same length along the first axis, got '0' float32[8, "
            "3], '1' float32[4]"
        ),
    ),
    "plot_histories": (
        lambda: ol.plot_histories([1, 2]),
        (
            'plot_histories: histories must be a dict of histories by name, {"SGD": history, ...}, '
            "got [1, 2]"
        ),
    ),
    "make_step": (
        lambda: ol.make_step(of_x, ADAM),
        (
            "make_step() takes 1 positional argument but 2 were given; write step = "
            "make_step(loss_fn); params, state"
        ),
    ),
    "minimize": (
        lambda: ol.minimize(PARAMS, loss),
        (
            "minimize: the order is minimize(fn, x0, tx), a function and a tree, got a dict of 2 "
            "leaves and function loss"
        ),
    ),
    # for authors
    "bias_correction_factor": (
        lambda: ol.bias_correction_factor("x", 1),
        "decay must be a number or a schedule, got 'x'",
    ),
    "global_norm": (lambda: ol.global_norm({"w": loss}), "leaf 'w' is function loss"),
    "increment": (
        lambda: ol.increment(STATE),
        "increment: count must be a number, got a tuple of 5 leaves",
    ),
    "leafwise": (
        lambda: ol.leafwise(lambda g, m: g, GRADS, GRADS),
        "the rule must return 2 arrays, (update, *slots), got ",
    ),
    "safe_increment": (
        lambda: ol.safe_increment("3"),
        "increment: count must be a number, got str '3'",
    ),
    "safe_norm": (
        lambda: ol.safe_norm(PARAMS, 0.1),
        "safe_norm: x must be an array, got a dict of 2 leaves",
    ),
    "wrapping": (
        lambda: ol.wrapping(ADAM, lambda params: (), STATE),
        "wrapping: run must be a function, got (ScaleByAdamState(",
    ),
    "zeros_like": (
        lambda: ol.zeros_like(PARAMS, "flot"),
        "dtype must be a floating dtype or None, got 'flot'",
    ),
    # sweeps
    "sweep.choice": (
        lambda: sweep.choice("ab"),
        "choice: options must be a list or a one-dimensional array, got 'ab'",
    ),
    "sweep.grid": (
        lambda: sweep.grid(ol.adam, lr=[0.1]),
        "grid: adam: no argument 'lr'; write learning_rate",
    ),
    "sweep.loguniform": (lambda: sweep.loguniform(0, 1), "loguniform: low must be above 0, got 0"),
    "sweep.pbt": (
        lambda: sweep.pbt(10, {"b1": (0.9,)}, fraction=0.6),
        "pbt: fraction must be above 0 and at most 0.5",
    ),
    "sweep.randint": (lambda: sweep.randint(1, 2.5), "randint: high must be an integer, got 2.5"),
    "sweep.run": (
        lambda: sweep.run(lambda member, key: 0.0, sweep.grid(ol.adam, learning_rate=[0.1])),
        "run: the order is run(population, train)",
    ),
    "sweep.run of one": (
        lambda: sweep.run(ADAM, sweep.training(jnp.zeros, loss, steps=1)),
        "run: population must be what grid or sample returns, got GradientTransformation",
    ),
    "sweep.run_study": (
        lambda: sweep.run_study(ol.adam, ADAM, loss, n_trials=1),
        "run_study: study must be what optuna.create_study returns, got function",
    ),
    "sweep.sample": (
        lambda: sweep.sample(ol.adam, 0, learning_rate=[0.1]),
        "sample: n must be an integer of at least 1, got 0",
    ),
    "sweep.successive_halving": (
        lambda: sweep.successive_halving([30, 20]),
        "successive_halving: rungs must be increasing numbers of updates",
    ),
    "sweep.training": (
        lambda: sweep.training(jnp.zeros, 3, steps=1),
        "training: loss must be a function, got 3",
    ),
    "sweep.uniform": (lambda: sweep.uniform(1, 0), "uniform: low must be below high, got 1 and 0"),
}

HABITS = {
    "params": "parameters go to tx.init(params)",
    "lr": "write learning_rate",
    "betas": "write b1 and b2",
    "beta_1": "write b1",
    "momentum": "write b1",
    "epsilon": "write eps",
    "weight_decay": "adamw has it; for others write chain(add_decayed_weights(weight_decay), ...)",
    "global_clipnorm": "write chain(clip_by_global_norm(max_norm), ...)",
    "clipvalue": "write chain(clip(max_delta), ...)",
    "maximize": "write chain(scale(-1.0), ...), which reverses the gradients",
    "foreach": "every update is already one compiled program; leave it out",
    "fused": "every update is already one compiled program; leave it out",
    "ema_momentum": "write average_params(tx, decay=...)",
    "gradient_accumulation_steps": "write accumulate(tx, every)",
    "decay": "pass a schedule, such as learning_rate=warmup_cosine_decay_schedule(...)",
    "unheard_of": "the arguments are learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov",
}

NOT_ENTERED = {  # what is missing, unknown or too much
    "update": (
        lambda: ADAM.update(GRADS),
        "'state'; write updates, state = tx.update(grads, state, params)",
    ),
    "step": (
        lambda: ADAM.step(GRADS, STATE),
        "'params'; write params, state = tx.step(grads, state, params)",
    ),
    "init": (lambda: ADAM.init(), "'params'; write state = tx.init(params)"),
    "apply_updates": (
        lambda: ol.apply_updates(PARAMS),
        "'updates'; write params = apply_updates(params, updates)",
    ),
    "explain": (lambda: ol.explain(ADAM), "'params'; write explain(tx, params)"),
    "explain_memory": (
        lambda: ol.explain_memory(ADAM),
        "'params'; write explain_memory(tx, params, loss_fn, *args)",
    ),
    "eval_params": (
        lambda: ol.eval_params(STATE, PARAMS),
        "'params'; write eval_params(tx, state, params)",
    ),
    "current_hyperparams": (
        lambda: ol.current_hyperparams(ADAM),
        "'state'; write current_hyperparams(tx, state)",
    ),
    "transfer": (
        lambda: ol.transfer(STATE, ADAM),
        "'params'; write state, report = transfer(state, tx, params)",
    ),
    "fit": (
        lambda: ol.fit(of_x, LESS, (X, Y), ADAM, n_steps=3),
        "'n_steps'; write params, history = fit(loss_fn, ",
    ),
    "minimize": (lambda: ol.minimize(loss), "'x0'; write result = minimize(fn, x0, tx)"),
}

KEYWORDS = {  # that belong elsewhere, or are called otherwise
    **{
        f"run {name}": (lambda name=name: sweep.run(None, loss, **{name: 1}), hint)
        for name, hint in {
            "key": "write seeds=, a number of seeds or the seeds themselves",
            "n_seeds": "write seeds=, a number of seeds or the seeds themselves",
            "maximize": "write mode='max' or mode='min'",
            "steps": "it belongs to the training: write sweep.training(init, loss, ",
            "unheard_of": "write result = sweep.run(population, train)",
        }.items()
    },
    **{
        f"training {name}": (lambda name=name: sweep.training(jnp.zeros, loss, **{name: 1}), hint)
        for name, hint in {
            "epochs": "write steps = epochs * (rows // batch_size)",
            "lr": "the population brings the optimizer: write sweep.grid(adamw, ",
            "seeds": "it belongs to sweep.run: write run(..., seeds=...)",
            "search": "it belongs to sweep.run",
        }.items()
    },
    "orthogonalize steps": (lambda: ol.orthogonalize(W, steps=3), "write ns_steps="),
}

ATTRIBUTES = {
    "zero_grad": "adam has no attribute 'zero_grad'; gradients are not stored",
    "apply_gradients": "write updates, state = tx.update(grads, state, params); params = ",
    "minimize": "write minimize(fn, x0, tx), or make_step(loss_fn) for a training step",
    "learning_rate": (
        "write tx.hyperparams['learning_rate'] to read it, tx.replace(learning_rate=...) to "
        "change it"
    ),
    "param_groups": "write groups(tx, rules)",
    "unheard_of": "adam has no attribute 'unheard_of'; its numbers are in tx.hyperparams",
}

NO_FUNCTIONS = {
    *(
        "OptState",
        "Params",
        "Updates",
        "ScalarOrSchedule",
        "Schedule",
        "ConditionFn",
        "ShouldSkipUpdateFunction",
    ),
    *("TransformInitFn", "TransformUpdateFn", "TransformUpdateExtraArgsFn"),
}  # aliases of types
# These have their wrong calls in tests/test_compat.py and tests/test_tree_helpers.py.
ELSEWHERE = {
    f"optax_lite.{module}"
    for module in ("compat", "linear_algebra", "microbatching", "tree", "_stochastic")
}
PUBLIC = [
    name
    for name in [*ol.__all__, *ol.compat.__all__, *(f"sweep.{name}" for name in sweep.__all__)]
    if callable(found := attrgetter(name)(ol))
    and not isinstance(found, (type, types.ModuleType))
    and getattr(found, "__module__", "") not in ELSEWHERE
    and not name.startswith(("unitwise", "safe_root"))
]


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in NO_FUNCTIONS])
def test_every_public_function_has_a_wrong_call(name):
    in_table = {row.factory for row in ROWS if row.bad}  # tests/test_errors.py makes these calls
    in_table |= {attrgetter(wrong)(ol) for wrong in WRONG if wrong in PUBLIC}
    assert name in WRONG or attrgetter(name)(ol) in in_table


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_what_is_wrong(name):
    call, message = WRONG[name]
    with pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
        call()
    assert message in str(caught.value)


@pytest.mark.parametrize("name", HABITS)
def test_a_keyword_of_another_library_is_translated(name):
    with pytest.raises(ValueError) as caught:
        ol.adam(**{"learning_rate": 0.1, name: 0.5} if name != "lr" else {name: 0.5})
    assert str(caught.value) == f"adam: no argument {name!r}; {HABITS[name]}"


def test_a_translation_to_a_missing_argument_is_not_offered():
    for name in ("betas", "epsilon", "weight_decay_mask"):
        with pytest.raises(
            ValueError,
            match="the arguments are learning_rate, momentum, nesterov, accumulator_dtype",
        ):
            ol.sgd(0.1, **{name: 0.5})


@pytest.mark.parametrize("name", NOT_ENTERED)
def test_a_call_without_its_arguments_shows_the_right_call(name):
    call, message = NOT_ENTERED[name]
    with pytest.raises(TypeError) as caught:
        call()
    # as Python 3.13 asks
    told = re.sub(r"\. Did you mean '\w+'\? Write", "; write", str(caught.value))
    assert f"{name}() " in told and message in told


@pytest.mark.parametrize("case", KEYWORDS)
def test_a_keyword_that_belongs_elsewhere_is_translated(case):
    call, hint = KEYWORDS[case]
    name = case.split()[1]
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'") as caught:
        call()
    told = str(caught.value)
    assert hint in told or hint[0].upper() + hint[1:] in told  # a sentence from Python 3.13 on


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_of_another_library_is_translated(name):
    with pytest.raises(AttributeError) as caught:
        getattr(ADAM, name)
    assert ATTRIBUTES[name] in str(caught.value)


def test_private_attributes_are_just_not_there():
    with pytest.raises(AttributeError, match=r"^adam has no attribute '__jax_array__'$"):
        _ = ADAM.__jax_array__
    with pytest.raises(
        AttributeError, match=r"^GradientTransformation has no attribute '_static'"
    ):  # half made
        _ = object.__new__(ol.GradientTransformation).arguments


@pytest.mark.parametrize("verb", ["init", "update", "step"])
def test_a_factory_says_that_it_was_not_called(verb):
    with pytest.raises(
        TypeError, match=r"^adam is a factory, not an optimizer; call it: tx = adam"
    ):
        getattr(ol.adam, verb)(PARAMS)


def test_a_type_error_from_inside_a_call_is_left_alone():
    def fn(params):
        raise TypeError("of your own")

    with pytest.raises(TypeError, match=r"^of your own"):
        ol.minimize(fn, jnp.ones(3))


def test_a_leaf_that_is_not_an_array_is_named():
    with pytest.raises(TypeError, match="adam: gradient leaf 'w' is str 'g', not an array"):
        ADAM.update({**GRADS, "w": "g"}, STATE, PARAMS)


def test_a_function_that_takes_no_count_is_not_a_schedule():
    tx = ol.adam(lambda: 0.1)
    with pytest.raises(
        TypeError, match="a schedule is a function of one argument, the count of updates"
    ):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_a_type_error_from_inside_a_schedule_is_left_alone():
    def rate(count):
        raise TypeError("of your own")

    with pytest.raises(TypeError, match=r"^of your own"):
        ol.adam(rate).update(GRADS, ol.adam(rate).init(PARAMS), PARAMS)


@pytest.mark.parametrize("what", ["gradient", "state", "params"])
def test_memory_that_was_given_away_is_named(what):
    params, grads = jax.tree.map(jnp.copy, (PARAMS, GRADS))
    tx = ol.adamw(0.1)
    trees = {"gradient": grads, "state": tx.init(params), "params": params}
    gone = jax.tree.leaves(trees[what])[-1]
    gone.delete()
    with pytest.raises(
        RuntimeError,
        match=f"adamw: {what} leaf '.*w' was donated: a compiled call with donate_argn",
    ):
        tx.update(*trees.values())


def test_an_error_inside_a_member_names_the_member():
    with pytest.raises(
        ValueError, match="add_decayed_weights: update needs the parameters"
    ) as caught:
        ol.adamw(0.1).update(GRADS, ol.adamw(0.1).init(PARAMS))
    assert "in an update of adamw" in caught.value.__notes__


def test_a_state_of_optax_is_named_with_its_package():
    optax, params = pytest.importorskip("optax"), {"w": jnp.ones(2)}
    with pytest.raises(
        ValueError, match=r"expected \(ScaleByAdamState.*got \(optax\.ScaleByAdamState"
    ):
        ol.adam(0.1).update(params, optax.adam(0.1).init(params), params)


CLASSES = {
    "AdamW": "the nearest is adamw",
    "SGD": "the nearest is sgd",
    "StepLR": "write exponential_decay(init_value, transition_steps, decay_rate, staircase=True)",
    "momentum": "write sgd(learning_rate, momentum=0.9)",
    "xqzjw": "",
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_another_library_is_translated(name):
    with pytest.raises(AttributeError) as caught:
        getattr(ol, name)
    hint = f"; {CLASSES[name]}" if CLASSES[name] else ""
    assert str(caught.value) == f"module 'optax_lite' has no attribute {name!r}{hint}"
