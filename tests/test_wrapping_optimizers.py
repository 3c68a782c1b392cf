"""Methods that wrap other optimizers or find their own step size, along a trajectory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods.sam import sam_step

CURVATURE = {"w": jnp.array([[1.0, 4.0], [0.5, 2.0], [3.0, 0.1]]), "b": jnp.array([2.0, 0.3])}
START = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.2]]), "b": jnp.array([0.3, -0.1])}


def bowl(params):
    """Its Hessian is diagonal: CURVATURE."""
    return sum(jnp.sum(c * params[k] ** 2) / 2 for k, c in CURVATURE.items())


def descend(tx, steps, loss=bowl, params=START, **extra):
    """The params and the state after some updates, all of them in one compiled loop."""

    def body(_, carry):
        p, state = carry
        value, g = jax.value_and_grad(loss)(p)
        return tx.step(g, state, p, value=value, **extra)

    return jax.jit(lambda p: jax.lax.fori_loop(0, steps, body, (p, tx.init(p))))(params)


# --- SAM ------------------------------------------------------------------------------------------


def foret(steps, learning_rate, rho):
    w = [np.asarray(x, float) for x in START.values()]
    for _ in range(steps):
        w = sam_step(
            lambda w: [np.asarray(c) * x for c, x in zip(CURVATURE.values(), w, strict=True)],
            w,
            0.1,
            0.3,
        )
    return dict(zip(START, w, strict=True))


def climbing():
    return ol.chain(ol.normalize(), ol.sgd(0.3))


def test_sam_in_two_phases_is_the_formula_of_the_paper():
    halfway, _ = descend(ol.sam(ol.sgd(0.1), climbing()), 9)
    there, state = descend(ol.sam(ol.sgd(0.1), climbing()), 10)
    expected = foret(5, 0.1, 0.3)
    assert_close(there, expected, ulps=10 * A_STEP)
    chex.assert_trees_all_equal(halfway.keys(), there.keys())
    assert state.steps_since_sync == 0
    # Between two steps the parameters are the adversarial point, at the distance rho from the last
    # one.
    away = ol.global_norm(jax.tree.map(jnp.subtract, halfway, foret(4, 0.1, 0.3)))
    # of the params that are subtracted
    assert_close(away, 0.3, ulps=9 * A_STEP, largest=3.0, dtype=jnp.float32)


def test_sam_in_opaque_mode_is_the_formula_of_the_paper():
    def gradient(params, i):
        return jax.grad(bowl)(params)

    tx = ol.sam(ol.sgd(0.1), climbing(), opaque_mode=True)
    params, state = descend(tx, 5, grad_fn=gradient)
    assert_close(params, foret(5, 0.1, 0.3), ulps=10 * A_STEP)
    assert state.cache is None
    with pytest.raises(TypeError, match="sam: update needs grad_fn="):
        tx.update(START, state, START)


def test_sam_at_a_stationary_point_stays_there():
    zeros = jax.tree.map(jnp.zeros_like, START)
    tx = ol.sam(ol.adam(0.1), climbing())
    state = tx.init(START)
    for _ in range(4):
        updates, state = tx.update(zeros, state, START)
        chex.assert_trees_all_equal(jax.tree.map(jnp.abs, updates), zeros)


@pytest.mark.nightly
def test_sam_counts_the_steps_of_the_outer_schedule_only():
    _, state = descend(ol.sam(ol.sgd(ol.cosine_decay_schedule(0.1, 10)), climbing(), 3), 9)
    assert [int(x) for x in jax.tree.leaves(state.opt_state)] == [3]


# --- Sophia ---------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_sophia_with_the_exact_diagonal_is_newtons_method():
    tx = ol.sophia(
        1.0,
        b1=0.0,
        b2=0.0,
        weight_decay=0.0,
        gamma=1.0,
        clip_threshold=1e3,
        eps=1e-3,
        update_interval=1,
    )
    state = tx.init(START)
    small = jax.tree.map(lambda p: 1e-7 * p, START)
    _, state = tx.update(jax.grad(bowl)(small), state, START, obj_fn=bowl)
    assert_close(state[0].nu, CURVATURE, ulps=A_STEP)
    updates, _ = tx.update(jax.grad(bowl)(START), state, START, obj_fn=bowl)
    # Divided by curvatures of a fortieth of the largest, which are off by units of the largest.
    assert_close(updates, jax.tree.map(jnp.negative, START), ulps=40 * A_STEP)


@pytest.mark.nightly
def test_sophia_estimates_at_the_first_of_every_interval():
    tx = ol.sophia(0.1, b2=0.5, update_interval=3)
    p, state = START, tx.init(START)
    seen = []
    for _ in range(7):
        _, state = tx.update(jax.grad(bowl)(p), state, p, obj_fn=bowl)
        seen.append(float(state[0].nu["b"][0] / CURVATURE["b"][0]))
    np.testing.assert_allclose(seen, [0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 0.875], rtol=1e-6)


@pytest.mark.nightly
def test_hutchinsons_estimate_is_unbiased():
    matrix = jnp.array([[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, -3.0]])

    def quadratic(params):
        return params["x"] @ matrix @ params["x"] / 2

    tx = ol.hutchinson_estimator_diag_hessian()
    p = {"x": jnp.ones(3), "count": jnp.array(3)}  # the objective gets all of the params
    g = {"x": jnp.ones(3), "count": None}

    def one(key):
        estimate, state = tx.update(g, tx.init(p)._replace(key=key), p, obj_fn=quadratic)
        return estimate["x"], state.key

    estimates, keys = jax.vmap(one)(jax.random.key_data(jax.random.split(jax.random.key(0), 4096)))
    assert len({tuple(k) for k in np.asarray(keys)}) == 4096
    np.testing.assert_allclose(jnp.mean(estimates, 0), jnp.diag(matrix), atol=0.05)
    # For signs the estimate of a row is off by its other entries: the variance is the sum of their
    # squares.
    np.testing.assert_allclose(jnp.var(estimates, 0), [0.34, 0.29, 0.13], rtol=0.1)


# --- Schedule-Free --------------------------------------------------------------------------------


@pytest.mark.nightly
def test_schedule_free_keeps_the_average_that_it_evaluates_at():
    tx = ol.schedule_free_sgd(0.3, warmup_steps=4, b1=0.8)
    x = y = z = START
    state, total = tx.init(START), 0.0
    for t in range(12):
        rate = min(0.3 * t / 4, 0.3)
        updates, state = tx.update(jax.grad(bowl)(y), state, y)
        z = jax.tree.map(lambda z, g: z - rate * g, z, jax.grad(bowl)(y))  # noqa: B023
        total += rate**2
        c = rate**2 / total if total else 0.0
        x = jax.tree.map(lambda x, z: (1 - c) * x + c * z, x, z)  # noqa: B023
        expected = jax.tree.map(lambda x, z: 0.8 * x + 0.2 * z, x, z)
        y = ol.apply_updates(y, updates)
        # The reader divides what it takes from y by b1.
        assert_close(y, expected, ulps=12 * A_STEP)
        assert_close(ol.schedule_free_eval_params(state, y), x, ulps=12 * A_STEP / 0.8)


def test_schedule_free_evaluation_keeps_dtypes_and_what_does_not_move():
    p = {"w": jnp.ones(3, jnp.bfloat16), "count": jnp.array(3), "none": None}
    state = ol.schedule_free_adamw(0.1).init(p)
    evaluated = ol.schedule_free_eval_params(state, p)
    chex.assert_trees_all_equal(evaluated, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(evaluated, p)
    with pytest.raises(
        ValueError, match="schedule_free_eval_params: state must be a ScheduleFreeState, got tuple"
    ):
        ol.schedule_free_eval_params((ol.EmptyState(), state), p)


@pytest.mark.nightly
def test_schedule_free_average_is_better_than_the_iterate_under_noise():
    tx = ol.schedule_free_sgd(0.4)

    def body(carry, key):
        y, state = carry
        g = jax.tree.map(lambda g: g + jax.random.normal(key, g.shape), jax.grad(bowl)(y))
        return tx.step(g, state, y), None

    keys = jax.random.split(jax.random.key(0), 400)
    (y, state), _ = jax.lax.scan(body, (START, tx.init(START)), keys)
    assert bowl(ol.schedule_free_eval_params(state, y)) < 0.1 * bowl(state.z)


def test_schedule_free_passes_extra_arguments_on():
    tx = ol.schedule_free(ol.momo(1.0, beta=0.0), 1.0)
    with pytest.raises(TypeError, match="momo: update needs value="):
        tx.update(START, tx.init(START), START)
    tx.update(START, tx.init(START), START, value=1.0)


# --- GaLore ---------------------------------------------------------------------------------------

MATRICES = {"tall": (6, 3), "wide": (3, 5), "square": (4, 4), "vector": (4,), "cube": (2, 3, 4)}


def matrices(seed):
    keys = jax.random.split(jax.random.key(seed), len(MATRICES))
    return {
        name: jax.random.normal(k, shape)
        for k, (name, shape) in zip(keys, MATRICES.items(), strict=True)
    }


def along(tx, gradients):
    params = matrices(99)
    state, seen = tx.init(params), []
    for g in gradients:
        updates, state = tx.update(g, state, params)
        seen.append(updates)
    return seen, state


@pytest.mark.nightly
def test_galore_of_full_rank_around_a_linear_optimizer_is_that_optimizer():
    gradients = [matrices(i) for i in range(5)]
    plain, _ = along(ol.trace(0.9), gradients)
    projected, _ = along(ol.scale_by_galore(10, base_optimizer=ol.trace(0.9)), gradients)
    assert_close(*(list(map(only_square, us)) for us in (projected, plain)), ulps=5 * A_STEP)
    # The longer side of a matrix that is not square has more directions than one gradient shows.
    assert_close(projected[0], plain[0], ulps=5 * A_STEP)
    anew, _ = along(ol.scale_by_galore(10, 1, base_optimizer=ol.trace(0.0)), gradients)
    assert_close(anew, gradients, ulps=5 * A_STEP)


def only_square(tree):
    return {k: x for k, x in tree.items() if k not in ("tall", "wide")}


@pytest.mark.nightly
def test_galore_of_full_rank_equals_adam_where_the_singular_vectors_are_the_axes():
    gradients = [{"w": jnp.diag(jnp.array([3.0, 2.0, 1.0]) * (1 + i))} for i in range(4)]
    p = {"w": jnp.ones((3, 3))}
    for rank, kept in ((3, 3), (2, 2), (1, 1)):
        ours, adam = ol.galore(0.1, rank), ol.adam(0.1)
        state, theirs = ours.init(p), adam.init(p)
        for g in gradients:
            u, state = ours.update(g, state, p)
            v, theirs = adam.update(g, theirs, p)
            mask = jnp.diag(jnp.arange(3) < kept)
            assert_close(u["w"], jnp.where(mask, v["w"], 0.0), ulps=4 * A_STEP)


@pytest.mark.nightly
def test_galore_keeps_slots_of_the_shorter_side():
    state = ol.scale_by_galore(2).init(matrices(0))
    shapes = jax.tree.map(
        jnp.shape, state.base_optimizer_state.mu, is_leaf=lambda x: hasattr(x, "shape")
    )
    assert shapes == {
        "tall": (2, 3),
        "wide": (3, 2),
        "square": (2, 4),
        "vector": (4,),
        "cube": (2, 3, 4),
    }
    assert {k: p.shape for k, p in state.projector.items()} == {
        "tall": (6, 2),
        "wide": (5, 2),
        "square": (4, 2),
        "vector": (0, 0),
        "cube": (0, 0),
    }


@pytest.mark.parametrize(
    ("numbers", "fold", "unfold"),
    [
        (
            ol.GaLoreDimensionNumbers(0, (1, 2)),
            lambda x: x.reshape(2, 12),
            lambda m: m.reshape(2, 3, 4),
        ),
        (
            ol.GaLoreDimensionNumbers((0, 1), -1),
            lambda x: x.reshape(6, 4),
            lambda m: m.reshape(2, 3, 4),
        ),
        (
            ol.GaLoreDimensionNumbers(1, (2, 0)),
            lambda x: x.transpose(1, 2, 0).reshape(3, 8),
            lambda m: m.reshape(3, 4, 2).transpose(2, 0, 1),
        ),
    ],
)
@pytest.mark.nightly
def test_galore_reads_arrays_as_matrices(numbers, fold, unfold):
    given = dict.fromkeys(MATRICES) | {"cube": numbers}
    ours = ol.scale_by_galore(2, 2, weight_dimension_numbers=given)
    by_function = ol.scale_by_galore(2, 2, weight_dimension_numbers=lambda tree: given)
    gradients = [matrices(i) for i in range(3)]
    seen, state = along(ours, gradients)
    assert_close(seen, along(by_function, gradients)[0], ulps=10 * 3 * A_STEP)
    flat = ol.scale_by_galore(2, 2)
    matrix_state = flat.init(fold(gradients[0]["cube"]))
    for g, u in zip(gradients, seen, strict=True):
        v, matrix_state = flat.update(fold(g["cube"]), matrix_state)
        # Singular vectors are as well determined as their singular values are apart, here by a
        # tenth of the largest.
        assert_close(u["cube"], unfold(v), ulps=10 * 3 * A_STEP)
    assert_close(
        state.base_optimizer_state.mu["cube"],
        matrix_state.base_optimizer_state.mu,
        ulps=10 * 3 * A_STEP,
    )


@pytest.mark.nightly
def test_galore_names_the_leaf_with_unnamed_axes():
    numbers = ol.GaLoreDimensionNumbers(0, 1)
    with pytest.raises(ValueError, match=r"leaf 'cube'.* must name each axis"):
        ol.galore(0.1, 2, weight_dimension_numbers=numbers).init(matrices(0))
    with pytest.raises(ValueError, match=r"leaf 'tall'.* must name each axis"):
        ol.galore(
            0.1, 2, weight_dimension_numbers={"tall": (0, 3), "wide": None, "cube": None}
        ).init({"tall": jnp.ones((4, 2)), "wide": jnp.ones(2), "cube": jnp.ones(2)})
    with pytest.raises(ValueError, match="'wide' only in the"):
        ol.galore(0.1, 2, weight_dimension_numbers={"tall": numbers}).init(matrices(0))


# --- methods that find their own step -------------------------------------------------------------

FREE = {
    "cocob": lambda: ol.cocob(),
    "dog": lambda: ol.dog(),
    "dowg": lambda: ol.dowg(),
    "dadapt_adamw": lambda: ol.dadapt_adamw(ol.linear_schedule(1.0, 0.0, 1000)),
    "prodigy": lambda: ol.prodigy(ol.linear_schedule(1.0, 0.0, 1000)),
    "mechanize": lambda: ol.mechanize(ol.sgd(0.1)),
    "mechanize, large": lambda: ol.mechanize(ol.sgd(10.0)),
    "momo": lambda: ol.momo(100.0),
    "momo_adam": lambda: ol.momo_adam(),
}


@pytest.mark.parametrize("name", FREE)
@pytest.mark.nightly
def test_finds_a_step_size_by_itself(name):
    params, _ = descend(FREE[name](), 1000)
    assert bowl(params) < 0.05 * bowl(START)


def test_momo_is_stable_where_its_learning_rate_alone_is_not():
    assert not bowl(descend(ol.sgd(100.0), 20)[0]) < bowl(START)
    assert bowl(descend(ol.momo(100.0, beta=0.0), 20)[0]) < 0.1 * bowl(START)


def test_momo_needs_the_loss_and_estimates_its_lower_bound():
    def raised(params):
        return bowl(params) + 7.0

    _, state = descend(ol.momo(1.0, adapt_lower_bound=True), 300, raised)
    np.testing.assert_allclose(state.lb, 7.0, atol=0.3)


@pytest.mark.nightly
def test_distances_are_not_overestimated():
    for tx, read in (
        (ol.dadapt_adamw(), lambda s: s.estim_lr),
        (ol.dog(), lambda s: s[1].max_dist),
    ):
        _, state = descend(tx, 300)
        assert 1e-3 < read(state) < 2 * ol.global_norm(START)


def test_a_schedule_does_not_change_the_state_of_these_methods():
    rate = ol.cosine_decay_schedule(0.1, 10)
    base = ol.sgd(0.1)
    for make in (
        ol.madgrad,
        ol.momo,
        ol.momo_adam,
        ol.prodigy,
        ol.dadapt_adamw,
        lambda r: ol.schedule_free(base, r),
    ):
        assert jax.tree.structure(make(0.1).init(START)) == jax.tree.structure(
            make(rate).init(START)
        )
    state = ol.chain(ol.momo(ol.constant_schedule(0.1))).init(START)
    assert isinstance(state[0], ol.MomoState)


# --- complex leaves -------------------------------------------------------------------------------


@pytest.mark.nightly
def test_adam_on_split_leaves_is_adam_on_the_real_numbers():
    z = jnp.array([1 + 2j, -0.5j, 3.0])
    split, plain = ol.split_real_and_imaginary(ol.adam(0.1)), ol.adam(0.1)
    pair = {"re": z.real, "im": z.imag}
    state, of_pair = split.init(z), plain.init(pair)
    for i in range(3):
        g = (i + 1) * jnp.conj(z) + 0.3j
        u, state = split.update(g, state, z)
        v, of_pair = plain.update({"re": g.real, "im": g.imag}, of_pair, pair)
        assert_close(u, jax.lax.complex(v["re"], v["im"]), ulps=3 * A_STEP)
    assert ol.split_real_and_imaginary(ol.clip(0.1)).update(
        z, split.init(z)._replace(inner_state=ol.EmptyState())
    )
