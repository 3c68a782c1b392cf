"""Translate what people write out of habit from other libraries.

This runs only once a keyword or an attribute is known to be wrong.
"""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

_RENAMED = {  # the first of these names that there is
    "lr": ("learning_rate",),
    "step_size": ("learning_rate",),
    "learning_rate_fn": ("learning_rate",),
    "initial_learning_rate": ("init_value", "learning_rate"),
    "beta": ("b1", "decay"),
    "beta1": ("b1",),
    "beta_1": ("b1",),
    "beta2": ("b2",),
    "beta_2": ("b2",),
    "beta_2_decay": ("decay_rate",),
    "betas": ("b1 and b2",),
    "momentum": ("b1", "decay"),
    "epsilon": ("eps",),
    "rho": ("decay",),
    "alpha": ("decay",),
    "decay_rate": ("decay",),
    "wd": ("weight_decay",),
    "weight_decay_mask": ("mask",),
    "exclude_from_weight_decay": ("mask",),
    "T_max": ("decay_steps",),
    "no_decay": ("mask",),
    "k": ("every",),
    "n": ("every",),
    "every_k_schedule": ("every",),
    "total_steps": ("decay_steps", "transition_steps"),
    "num_training_steps": ("decay_steps", "transition_steps"),
    "num_warmup_steps": ("warmup_steps",),
    "gamma": ("decay_rate",),
}
_CLIP = "write chain(clip_by_global_norm(max_norm), ...)"
_SCHEDULE = "pass a schedule, such as learning_rate=warmup_cosine_decay_schedule(...)"
_COMPILED = "every update is already one compiled program; leave it out"
_AVERAGE = "write average_params(tx, decay=...)"
_ACCUMULATE = "write accumulate(tx, every)"
_ELSEWHERE = {
    "params": "parameters go to tx.init(params)",
    "parameters": "parameters go to tx.init(params)",
    "var_list": "parameters go to tx.init(params)",
    "clipnorm": _CLIP,
    "global_clipnorm": _CLIP,
    "max_grad_norm": _CLIP,
    "clip_norm": _CLIP,
    "grad_clip": _CLIP,
    "clipvalue": "write chain(clip(max_delta), ...)",
    "clip_value": "write chain(clip(max_delta), ...)",
    "amsgrad": "write amsgrad(...), an optimizer of its own",
    "weight_decay": "adamw has it; for others write chain(add_decayed_weights(weight_decay), ...)",
    "dampening": (
        "if it equals the momentum, write chain(ema(decay, debias=False), "
        "scale_by_learning_rate(...))"
    ),
    "maximize": "write chain(scale(-1.0), ...), which reverses the gradients",
    "foreach": _COMPILED,
    "fused": _COMPILED,
    "capturable": _COMPILED,
    "differentiable": "every optimizer is differentiable; leave it out",
    "jit_compile": _COMPILED,
    "name": "optimizers have no names; named_chain(...) names the members of a chain",
    "use_ema": _AVERAGE,
    "ema_momentum": _AVERAGE,
    "ema_overwrite_frequency": _AVERAGE,
    "gradient_accumulation_steps": _ACCUMULATE,
    "accumulate_steps": _ACCUMULATE,
    "loss_scale_factor": "scale the loss, and write chain(scale(1 / factor), ...)",
    "decay": _SCHEDULE,
    "lr_decay": _SCHEDULE,
    "lr_scheduler": _SCHEDULE,
    "scheduler": _SCHEDULE,
    "warmup_steps": _SCHEDULE,
    "num_warmup_steps": _SCHEDULE,
    "total_steps": _SCHEDULE,
    "reduction": "losses are returned per example; take jnp.mean(...) of them",
    "size_average": "losses are returned per example; take jnp.mean(...) of them",
    "from_logits": "it always takes logits; leave it out",
}
_UPDATE = (
    "write updates, state = tx.update(grads, state, params); params = apply_updates(params, "
    "updates)"
)
_CLASSES = {  # of torch and Keras, and words of courses
    "momentum": "sgd(learning_rate, momentum=0.9)",
    "nesterov": "sgd(learning_rate, momentum=0.9, nesterov=True)",
    "cosineannealinglr": "cosine_decay_schedule(init_value, decay_steps)",
    "cosinedecay": "cosine_decay_schedule(init_value, decay_steps)",
    "steplr": "exponential_decay(init_value, transition_steps, decay_rate, staircase=True)",
    "multisteplr": "piecewise_constant_schedule(init_value, {step: factor})",
    "exponentiallr": "exponential_decay(init_value, 1, gamma)",
    "onecyclelr": "cosine_onecycle_schedule(transition_steps, peak_value)",
    "lambdalr": "learning_rate=lambda count: ..., or @schedule",
    "reducelronplateau": "chain(tx, reduce_on_plateau())",
    "clip_grad_norm_": "chain(clip_by_global_norm(max_norm), tx)",
    "clip_grad_value_": "chain(clip(max_delta), tx)",
    "exponentialmovingaverage": "average_params(tx, decay=0.999)",
    "averagedmodel": "average_params(tx)",
    "gradscaler": "loss_scaling(tx)",
}
_ATTRIBUTES = {
    "zero_grad": "gradients are not stored, so there is nothing to set to zero",
    "apply_gradients": _UPDATE,
    "apply": _UPDATE,
    "minimize": "write minimize(fn, x0, tx), or make_step(loss_fn) for a training step",
    "state_dict": "the state is what tx.init and tx.update return: save that",
    "load_state_dict": "the state is an argument of tx.update: load it like any pytree",
    "state": "the state is what tx.init and tx.update return",
    "param_groups": "write groups(tx, rules)",
    "add_param_group": "write groups(tx, rules)",
    "lr": "write tx.hyperparams['learning_rate']",
    "defaults": "write tx.hyperparams",
}


def argument_hint(name: str, known: Iterable[str]) -> str:
    """Return what to write for an unknown argument: its name here, its place here, or the names
    nearest to it.
    """
    names = [path.rsplit("/", 1)[-1] for path in known]
    here = [new for new in _RENAMED.get(name, ()) if new.split()[0] in names]
    if here or name in _ELSEWHERE:
        return f"write {here[0]}" if here else _ELSEWHERE[name]
    near = nearest(name, known)
    if near:
        return f"the nearest is {', '.join(near)}"
    shown = [*list(known)[:12], *(["..."] if len(names) > 12 else [])]
    return f"the arguments are {', '.join(shown)}" if shown else "it takes none"


def name_hint(name: str, known: Iterable[str]) -> str:
    """Return what to write for a name that the package does not have, or nothing."""
    if name.lower() in _CLASSES:
        return f"write {_CLASSES[name.lower()]}"
    known = list(known)
    same = [other for other in known if other.lower() == name.lower()]
    near = same or nearest(name, known)[:3]
    return f"the nearest is {', '.join(near)}" if near else ""


def attribute_hint(name: str, arguments: Iterable[str]) -> str:
    """Return what to write for an attribute that an optimizer does not have."""
    if name in arguments:
        return f"write tx.hyperparams[{name!r}] to read it, tx.replace({name}=...) to change it"
    return _ATTRIBUTES.get(name, "its numbers are in tx.hyperparams")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names or paths nearest to `name` by their last part, in any case of letters,
    the nearest first.
    """
    known = list(known)
    last = {path: path.rsplit("/", 1)[-1].lower() for path in known}
    wanted = name.rsplit("/", 1)[-1].lower()
    near = difflib.get_close_matches(wanted, [*last.values()], n=3, cutoff=0.5)
    return [path for found in dict.fromkeys(near) for path in known if last[path] == found]


def plain(signature: inspect.Signature) -> str:
    """A signature without its annotations."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def own_name(name: str, value: Any, arguments: Mapping[str, Any]) -> str:
    """Find what a factory calls an argument that its builder handed on by another name, or else
    keep that name.
    """
    own = [other for other, x in arguments.items() if x is value]
    # The factory may have an argument of that name as well: `decay` of `rmsprop`, whose momentum
    # is the `decay` of a `trace`.
    return own[0] if name and name not in own and len(own) == 1 else name
