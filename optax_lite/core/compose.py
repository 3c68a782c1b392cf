"""Composition: chains, masks, groups by label, and transformations made from a plain function.

All of these are transformations of transformations, and data like their members: the numbers of
`chain(a, b)` are those of a under "0/" and of b under "1/".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from optax_lite.core.factory import is_factory
from optax_lite.core.frozen import by_any, by_part, zero_frozen
from optax_lite.core.functions import wrapping
from optax_lite.core.leafwise import leafwise
from optax_lite.core.masks import Placeholder, as_mask
from optax_lite.core.missing import objectives_of
from optax_lite.core.transform import EmptyState, GradientTransformation, transform
from optax_lite.core.trees import MaskedNode, check_prefix, is_missing, leaf_paths
from optax_lite.core.types import Array, Mask, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError, check_function
from optax_lite.errors.calls import usage
from optax_lite.errors.composition import SCALED, check_sequence
from optax_lite.errors.direction import check_one_sign, of_chain


@transform(is_a=("watching",))
def identity():
    """Pass the updates on unchanged; the neutral element of `chain`."""
    return lambda params: EmptyState(), lambda updates, state: (updates, state)


def as_optimizer(tx: Any, where: str, call: str) -> GradientTransformation:
    """Return the transformation, or one made of a foreign pair of functions; raise for anything
    else.
    """
    if isinstance(tx, GradientTransformation):
        return tx
    if is_factory(tx):
        raise TypeError(
            f"{where}: tx must be an optimizer, got function; call it: {tx.__name__}(...)"
        )
    if (pair := GradientTransformation.adopt(tx)) is None:
        raise TypeError(
            f"{where}: tx must be an optimizer, got {type(tx).__name__}; the order is {call}"
        )
    return pair


def check_members(members: Mapping[str, Any]) -> None:
    """Raise, naming the member, unless all are transformations."""
    for name, member in members.items():
        if type(member) is tuple and any(isinstance(m, GradientTransformation) for m in member):
            raise ArgumentError(
                f"member {name} is a list of transformations; pass them one by one, chain(*members)"
            )
        if not isinstance(member, GradientTransformation):
            raise ArgumentError(
                f"member {name} must be a GradientTransformation, got {member!r}; {_remedy(member)}"
            )


def _remedy(member: Any) -> str:
    if type(member) is tuple and len(member) == 2 and all(map(callable, member)):
        return (
            "wrap a pair of functions in GradientTransformation(init, update), or decorate the "
            "function that returns it with @transform"
        )
    return "write adam(1e-3), for example"


def links(transforms: Iterable[GradientTransformation]) -> Iterator[GradientTransformation]:
    """Yield the members of a chain, and those of chains in it in their place."""
    for t in transforms:
        yield from links(t.members()) if is_chain(t) else (t,)


def is_chain(tx: Any) -> bool:
    """Tell whether a call, or what stands for one, is of `chain` or of `named_chain`."""
    return getattr(tx, "factory", None) in (chain, _named_chain)


def _check_order(tx):
    members = list(links([tx]))
    check_sequence(members)
    check_one_sign(members)


def _frozen_by_any(tx, updates, params):
    return by_any(tx.members(), updates, params)


def _chain_descends(tx):
    return of_chain(links([tx]))


@transform(
    check=_check_order, freezes=_frozen_by_any, descends=_chain_descends, is_a=("always on",)
)
def chain(*transforms: TransformationLike):
    """Apply transformations one after another; the state is the tuple of their states.

    Each member gets the updates of the one before it, in at least float32, together with the params
    and the extra arguments of the call. To descend, exactly one member must change the sign:
    `scale_by_learning_rate`, or an optimizer that ends in it. If a member freezes a leaf, all
    members get a gradient of 0 for it, so that no norm counts it.

    Args:
        *transforms: The transformations, in the order in which they apply.

    Examples:
        >>> tx = chain(clip_by_global_norm(1.0), scale_by_adam(), scale_by_learning_rate(1e-3))
        >>> len(tx.init(params))
        3
    """
    check_members({str(i): t for i, t in enumerate(transforms)})

    def init(params):
        return tuple(t.init(params) for t in transforms)

    def update(updates, state, params=None, **extra):
        # Otherwise the gradient of a frozen backbone shrinks the clipped step of the head, and a
        # NaN in it stops training (decision 24).
        updates, new_state = zero_frozen(transforms, updates, params), []
        for t, s in zip(transforms, state, strict=True):
            updates, s = t.update(updates, s, params, **extra)
            new_state.append(s)
        return updates, tuple(new_state)

    def step(updates, state, params, **extra):
        """Run all members but the last as in `update`, and take the last one's own step."""
        # A wrapper that rests would otherwise add zeros to all params: `skip_bad_steps` took 2.02
        # times as long as the bare optimizer instead of 1.19 (decision 6).
        updates = zero_frozen(transforms[-1:], updates, params)
        updates, first = chain.definition.builder(*transforms[:-1])[1](
            updates, state[:-1], params, **extra
        )
        params, last = transforms[-1].step(updates, state[-1], params, **extra)
        return params, (*first, last)

    return (init, update, step) if transforms else (init, update)


@usage('named_chain(("clip", clip(1.0)), ("adam", adam(1e-3)))')
def named_chain(*transforms: tuple[str, TransformationLike]) -> GradientTransformation:
    """Apply named transformations one after another; the state is a dict by name, and so are the
    paths.

        tx = named_chain(("clip", clip(1.0)), ("adam", adam(1e-3)))
        tx.replace({"adam/b1": 0.8})

    Args:
        *transforms: Pairs (name, transformation), in the order in which they apply; see `chain`.
    """
    if not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in transforms
    ):
        raise ArgumentError(
            f"pass pairs of a name and a transformation, got {transforms!r}", "named_chain"
        )
    names = [name for name, _ in transforms]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ArgumentError(f"the names {sorted(repeated)} are used more than once", "named_chain")
    return _named_chain(**dict(transforms))


@transform(
    check=_check_order, freezes=_frozen_by_any, descends=_chain_descends, is_a=("always on",)
)
def _named_chain(**transforms):
    check_members(transforms)
    init, *runs = chain.definition.builder(*transforms.values())

    def named_init(params):
        return dict(zip(transforms, init(params), strict=True))

    def by_name(run):
        def named(updates, state, params=None, **extra):
            new, states = run(updates, tuple(state[name] for name in transforms), params, **extra)
            return new, dict(zip(transforms, states, strict=True))

        return named

    return named_init, *map(by_name, runs)


class MaskedState(NamedTuple):
    inner_state: PyTree  # MaskedNode() where the mask is False


class PartitionState(NamedTuple):
    inner_states: dict  # label: MaskedState


def _select(mask, tree):
    """Keep the leaves where the mask is True and put a `MaskedNode` elsewhere.

    A missing leaf of the mask stays missing, even if the tree has a value there.
    """

    def one(m, x):
        return m if is_missing(m) else x if m else MaskedNode()

    return None if tree is None else jax.tree.map(one, mask, tree, is_leaf=is_missing)


def _merge(mask, new, old):
    return jax.tree.map(
        lambda m, n, o: n if m and not is_missing(m) else o, mask, new, old, is_leaf=is_missing
    )


def _run_part(run, mask, updates, state, params, extra, mask_extra):
    """Run the update, or the step, on the leaves where the mask is True."""
    if mask_extra:
        same = jax.tree.structure(updates)
        extra = {
            k: _select(mask, v) if jax.tree.structure(v) == same else v for k, v in extra.items()
        }
    # `run` sees these leaves only, so a clip inside uses the norm of this group (decision 23).
    part, own = _select(mask, updates), _select(mask, params)
    extra = extra if params is None else objectives_of(extra, part, own, params)
    new, inner = run(part, state.inner_state, own, **extra)
    return new, MaskedState(inner)


def _frozen_inside(tx, updates, params):
    return by_part(
        {True: tx.arguments["inner"]}, as_mask(tx.arguments["mask"], updates), updates, params
    )


@transform(
    static=("mask",), freezes=_frozen_inside, is_a=("by path", "always on"), not_around=SCALED
)
def masked(inner: TransformationLike, mask: Mask, *, mask_compatible_extra_args: bool = False):
    """Apply `inner` to the leaves where `mask` is True and pass the others on; these have no state.

        masked(add_decayed_weights(0.1), ["!bias", "!norm*"])

    A pattern is a glob, `"kernel"`, or a compiled regular expression. A glob without a slash
    matches at any depth, one with a slash from the root. Of several patterns the last match
    decides, `!` excludes, and a list that begins with an exclusion includes the rest. Norms and
    line searches inside `inner` cover only these leaves: `value_fn`, `obj_fn` and `grad_fn` are
    then functions of these leaves.

    Args:
        inner: Transformation to apply.
        mask: Leaves that `inner` gets: path patterns, a tree of bools (or a prefix of one) or a
            function that makes one of the params.
        mask_compatible_extra_args: Mask extra arguments with the structure of the params, too.
    """
    check_members({"inner": inner})

    def init(params):
        return MaskedState(inner.init(_select(as_mask(mask, params), params)))

    def update(updates, state, params=None, **extra):
        now = as_mask(mask, updates)
        new, state = _run_part(
            inner.update, now, updates, state, params, extra, mask_compatible_extra_args
        )
        return _merge(now, new, updates), state

    return init, update


def _labels(param_labels, transforms, tree):
    """Return the labels of a tree; raise where one names no transformation."""
    # a module may be callable too
    is_tree = all(x in list(transforms) for x in jax.tree.leaves(param_labels))
    labels = param_labels(tree) if callable(param_labels) and not is_tree else param_labels
    check_prefix(labels, tree, "labels")
    for label, path in zip(
        jax.tree.leaves(labels), leaf_paths(labels, nothing_too=False), strict=True
    ):
        if label not in list(transforms):  # a list, for a label may be unhashable by mistake
            raise ArgumentError(
                f"leaf {path!r} has the label {label!r}, but transforms has only {list(transforms)}"
            )
    return labels


def _frozen_parts(tx, updates, params):
    transforms = tx.arguments["transforms"]
    return by_part(
        transforms, _labels(tx.arguments["param_labels"], transforms, updates), updates, params
    )


@transform(
    static=("param_labels",),
    freezes=_frozen_parts,
    is_a=("by path", "always on"),
    not_around=SCALED,
)
def partition(
    transforms: Mapping[Any, TransformationLike],
    param_labels: PyTree,
    *,
    mask_compatible_extra_args: bool = False,
):
    """Give every leaf to the transformation that its label names.

        partition({"body": adamw(1e-3), "head": sgd(0.1)}, {"encoder": "body", "out": "head"})

    Norms inside a group cover only its leaves. To freeze a group, use `set_to_zero()`, which keeps
    no state. `multi_transform` is an older name for this.

    Args:
        transforms: Dict from labels, all of one type, to transformations.
        param_labels: Tree of labels, a prefix of one, or a function that makes one of the params.
        mask_compatible_extra_args: Mask extra arguments with the structure of the params, too.

    Raises:
        ArgumentError: If a leaf has a label without a transformation; the error names the leaf.
    """
    if not isinstance(transforms, dict) or len({type(label) for label in transforms}) > 1:
        raise ArgumentError(
            f"transforms must be a dict whose keys (the labels) have one type, got {transforms!r}"
        )
    check_members(transforms)

    def masks(tree):
        if isinstance(tree, Placeholder):
            return dict.fromkeys(transforms, tree)
        labels = _labels(param_labels, transforms, tree)
        return {name: jax.tree.map(lambda x, name=name: x == name, labels) for name in transforms}

    def init(params):
        parts = masks(params)
        return PartitionState(
            {k: MaskedState(t.init(_select(parts[k], params))) for k, t in transforms.items()}
        )

    def by_label(inner, updates, state, params=None, **extra):
        parts, new, inner_states = masks(updates), updates, {}
        for name, t in transforms.items():
            part, inner_states[name] = _run_part(
                inner.of(t),
                parts[name],
                updates,
                state.inner_states[name],
                params,
                extra,
                mask_compatible_extra_args,
            )
            new = _merge(parts[name], part, new)
        return new, PartitionState(inner_states)

    return wrapping(None, init, by_label)


multi_transform = partition


@transform(static=("f",))
def stateless(f: Callable[[PyTree, PyTree], PyTree]):
    """Make a transformation without state from a function of whole trees.

    Args:
        f: Function `(updates, params)` that returns the new updates; params are None where the call
            has none.

    Examples:
        >>> signs = stateless(lambda updates, params: jax.tree.map(jnp.sign, updates))
        >>> tx = chain(signs, sgd(0.1))
    """
    check_function(f=f)
    return lambda params: EmptyState(), lambda updates, state, params=None: (
        f(updates, params),
        state,
    )


@transform(static=("f",))
def stateless_with_tree_map(f: Callable[[Array, Any], Array]):
    """Make a transformation without state from a function of the arrays of one leaf.

    Args:
        f: Function `(u, p)` that returns the new update; p is None where the call has no params.

    Examples:
        >>> tx = chain(stateless_with_tree_map(lambda u, p: jnp.sign(u)), sgd(0.1))
    """
    check_function(f=f)

    def update(updates, state, params=None):
        if params is None:
            return leafwise(lambda u: f(u, None), updates), state
        return leafwise(f, updates, read=(params,)), state

    return lambda params: EmptyState(), update


def with_extra_args_support(tx: TransformationLike) -> GradientTransformation:
    """Return the transformation unchanged: every one here takes extra arguments and ignores unknown
    ones.

    It is here for code that was written for optax, where it makes a difference.

    Args:
        tx: The optimizer, or any other transformation.
    """
    return as_optimizer(tx, "with_extra_args_support", "with_extra_args_support(tx)")
