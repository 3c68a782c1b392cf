"""L-BFGS (Nocedal & Wright 2006, Algorithm 7.4)."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import relative_error, started
from tests.methods.linesearch import counted, prints, valley
from tests.methods.row import Namespace, Quirks, Row, over, rate


def dot(a, b):
    """Inner product; complex vectors count as pairs of real ones."""
    return np.vdot(a, b).real


def lbfgs_direction(gradient_history, parameter_history, memory_size, scale_init_precond):
    """L-BFGS two-loop recursion (Nocedal & Wright 2006, Algorithm 7.4): H_k * gradient, from all
    vectors so far.
    """
    k = len(gradient_history) - 1
    pairs = range(max(0, k - memory_size), k)
    s = {i: parameter_history[i + 1] - parameter_history[i] for i in pairs}
    y = {i: gradient_history[i + 1] - gradient_history[i] for i in pairs}
    # The book's line search sees to s.y > 0. Any other pair counts as one of the memory_size pairs
    # but is not used.
    rho = {i: 1 / dot(s[i], y[i]) if dot(s[i], y[i]) > 0 else 0.0 for i in pairs}
    used = [i for i in pairs if rho[i] > 0]

    gamma = 1.0
    if scale_init_precond and used:
        gamma = dot(s[used[-1]], y[used[-1]]) / dot(y[used[-1]], y[used[-1]])
    elif scale_init_precond and np.any(gradient_history[k] != 0):
        # The book leaves the first step open; optax's docstring: the reciprocal of the gradient
        # norm, at most 1.
        gamma = min(1.0, 1 / np.sqrt(dot(gradient_history[k], gradient_history[k])))

    q = gradient_history[k]
    alpha = {}
    for i in reversed(pairs):
        alpha[i] = rho[i] * dot(s[i], q)
        q = q - alpha[i] * y[i]
    r = gamma * q
    for i in pairs:
        beta = rho[i] * dot(y[i], r)
        r = r + s[i] * (alpha[i] - beta)
    return r


def scale_by_lbfgs(g, s, w, *, memory_size, scale_init_precond):
    """`lbfgs_direction` of the leaves as one vector, with optax's state: pair i stands at place i %
    memory_size.
    """
    zeros = [np.zeros(x.shape, x.dtype) for x in w]
    stacked = [np.zeros((memory_size, *x.shape), x.dtype) for x in w]
    if s is None:
        s = {"count": 0, "params": zeros, "updates": zeros, "diff_params_memory": stacked}
        s |= {"diff_updates_memory": stacked, "weights_memory": np.zeros(memory_size)}
    count = s["count"]
    w_history = [flat(s["params"]), flat(w)] if count > 0 else [flat(w)]
    g_history = [flat(s["updates"]), flat(g)] if count > 0 else [flat(g)]
    for i in range(
        count - 2, max(-1, count - 1 - memory_size), -1
    ):  # older points, from the differences kept
        w_history.insert(
            0, w_history[0] - flat([x[i % memory_size] for x in s["diff_params_memory"]])
        )
        g_history.insert(
            0, g_history[0] - flat([x[i % memory_size] for x in s["diff_updates_memory"]])
        )
    direction = lbfgs_direction(g_history, w_history, memory_size, scale_init_precond)

    new = {
        "count": count + 1,
        "params": w,
        "updates": g,
        "weights_memory": s["weights_memory"].copy(),
    }
    new["diff_params_memory"] = [x.copy() for x in s["diff_params_memory"]]
    new["diff_updates_memory"] = [x.copy() for x in s["diff_updates_memory"]]
    if count > 0:
        place = (count - 1) % memory_size
        for i in range(len(w)):
            new["diff_params_memory"][i][place] = w[i] - s["params"][i]
            new["diff_updates_memory"][i][place] = g[i] - s["updates"][i]
        curvature = dot(w_history[-1] - w_history[-2], g_history[-1] - g_history[-2])
        new["weights_memory"][place] = 1 / curvature if curvature > 0 else 0.0
    return unflat(direction, w), new


def lbfgs(g, s, w, *, learning_rate, memory_size, scale_init_precond):
    """The step -learning_rate * H * g without a line search (Liu & Nocedal 1989); None stands for
    1.
    """
    u, s = scale_by_lbfgs(g, s, w, memory_size=memory_size, scale_init_precond=scale_init_precond)
    return [-(1.0 if learning_rate is None else learning_rate) * x for x in u], s


def flat(leaves):
    """All entries in one vector of real numbers."""
    return np.concatenate([np.ravel(part) for x in leaves for part in (np.real(x), np.imag(x))])


def unflat(vector, like):
    """The leaves that make up a vector."""
    leaves = []
    for x in like:
        real, imag, vector = vector[: x.size], vector[x.size : 2 * x.size], vector[2 * x.size :]
        leaves.append((real + 1j * imag if np.iscomplexobj(x) else real).reshape(x.shape))
    return leaves


def with_pairs(state, seed):
    """A used L-BFGS state: weights that belong to their pairs, one in three curved downwards, empty
    places empty.
    """
    is_chain = not hasattr(state, "_fields")
    first, *rest = started(state, seed) if is_chain else (started(state, seed),)
    place = np.arange(len(first.weights_memory))
    filled, sign = np.where(place < first.count - 1, 1.0, 0.0), np.where(place % 3 == 1, -1.0, 1.0)

    def at_places(factor, memory):
        return jax.tree.map(
            lambda x: factor.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) * x, memory
        )

    s, y = (
        at_places(filled, first.diff_params_memory),
        at_places(filled * sign, first.diff_updates_memory),
    )
    products = [
        (np.conj(a) * b).real.reshape(len(place), -1).sum(1)
        for a, b in zip(*map(jax.tree.leaves, (s, y)), strict=True)
    ]
    curvature = sum(products)
    weights = np.where(curvature > 0, 1 / np.where(curvature > 0, curvature, 1), 0)
    weights = jnp.asarray(weights, first.weights_memory.dtype)
    first = first._replace(diff_params_memory=s, diff_updates_memory=y, weights_memory=weights)
    return (first, *rest) if is_chain else first


def whole_size(arguments):
    return {**arguments, "memory_size": int(arguments["memory_size"])}


size_bad = (
    ({"memory_size": 0}, "memory_size must be an integer of at least 1, got 0"),
    ({"memory_size": 2.5}, "memory_size must be an integer of at least 1, got 2.5"),
)
lbfgs_settings = (
    {},
    *over(memory_size=(1, 3, 10), scale_init_precond=(True, False)),
    {"memory_size": 7},
)
cancels = 1e-5  # a direction is a sum over twenty vectors, of either sign


def lbfgs_parts(
    lib, learning_rate=None, memory_size=10, scale_init_precond=True, linesearch="zoom"
):
    zoom = lib.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    searches = {"zoom": zoom, None: lib.identity()}
    return lib.chain(
        lib.scale_by_lbfgs(memory_size=memory_size, scale_init_precond=scale_init_precond),
        lib.scale(-1.0) if learning_rate is None else lib.scale_by_learning_rate(learning_rate),
        searches[linesearch],
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_lbfgs,
        scale_by_lbfgs,
        lbfgs_settings,
        size_bad,
        quirks=Quirks(whole_tree=True, translate=whole_size, used=with_pairs, float32=cancels),
    ),
    Row(
        ol.lbfgs,
        lbfgs,
        tuple(
            {"learning_rate": lr, "linesearch": None, **s}
            for lr, s in zip((0.1, None, rate, 2, 0.1, 0.5, 1.0, rate), lbfgs_settings, strict=True)
        ),
        (*size_bad, ({"lr": 1}, "no argument 'lr'; write learning_rate")),
        stands_for=lbfgs_parts,
        quirks=Quirks(
            whole_tree=True,
            translate=whole_size,
            used=with_pairs,
            unlike=("linesearch",),
            float32=cancels,
        ),
    ),
)


LEAVES = {"w": (3, 2), "b": (4,), "scalar": (), "z": (2,)}


def landscape(seed, size):
    """The gradient, as a function of one vector, of a random quadratic that curves both ways."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian, shift = (basis * rng.uniform(-2.0, 3.0, size)) @ basis.T, rng.normal(size=size)
    return lambda x: hessian @ (x - shift)


def trajectory(
    factory, dtype, memory_size, scale_init_precond, *, steps=18, complex_=True, seed=0, jit=False
):
    """The error of the direction at each point of a path that the reference walks, and the ⟨s, y⟩
    of its pairs.

    Both get the same points and gradients, as rounded to `dtype`, so that errors do not pile up.
    """
    rng = np.random.default_rng(seed)
    kinds = {
        k: np.result_type(dtype, np.complex64) if k == "z" else dtype
        for k in LEAVES
        if complex_ or k != "z"
    }
    w = [
        np.asarray(rng.normal(size=LEAVES[k]) + (1j if k == "z" else 0), kind)
        for k, kind in kinds.items()
    ]
    gradient = landscape(seed, flat(w).size)
    tx = factory(memory_size, scale_init_precond)
    update = jax.jit(tx.update) if jit else tx.update
    state, ws, gs, errors = None, [], [], []
    for _ in range(steps):
        g = [np.asarray(x, p.dtype) for x, p in zip(unflat(gradient(flat(w)), w), w, strict=True)]
        params, grads = (
            {"none": None} | dict(zip(kinds, map(jnp.asarray, tree), strict=True))
            for tree in (w, g)
        )
        state = tx.init(params) if state is None else state
        updates, state = update(grads, state, params)
        assert updates["none"] is None
        ws, gs = [*ws, flat(w).astype(np.float64)], [*gs, flat(g).astype(np.float64)]
        direction = lbfgs_direction(gs, ws, memory_size, scale_init_precond)
        errors.append(relative_error(flat([updates[k] for k in kinds]), direction))
        moved = (
            flat(w)
            - direction / max(1.0, np.linalg.norm(direction))
            + 0.3 * rng.normal(size=direction.size)
        )
        w = [np.asarray(x, p.dtype) for x, p in zip(unflat(moved, w), w, strict=True)]
    return errors, [dot(a - b, c - d) for a, b, c, d in zip(ws[1:], ws, gs[1:], gs, strict=False)]


def _walks(memory_size, scale_init_precond, seed):
    def agrees(namespace: Namespace) -> bool:
        errors, _ = trajectory(
            namespace["scale_by_lbfgs"],
            np.float64,
            memory_size,
            scale_init_precond,
            seed=seed,
            steps=8,
        )
        return max(errors) < 2e-13

    return agrees


def smallest_curvature_used(factory):
    """Whether a pair is used exactly where 1/⟨s, y⟩ is finite."""
    tiny = float(jnp.finfo(float).tiny)
    for curvature, expected in ((tiny, 1 / tiny), (tiny / 2, 0.0), (0.0, 0.0), (-1.0, 0.0)):
        tx = factory(2)
        _, state = tx.update(jnp.array(0.0), tx.init(jnp.array(0.0)), jnp.array(0.0))
        _, state = tx.update(jnp.array(1.0), state, jnp.array(curvature))
        if float(state.weights_memory[0]) != expected:
            return False
    return True


def _starts_with_unit_norm_at_most(namespace: Namespace) -> bool:
    """The first direction is min(1, 1/‖g‖)·g, and so is every one until a pair curves upwards."""
    for size in (0.0, 0.5, 1.0, 1.5, 4.0):
        tx, g = (
            namespace["scale_by_lbfgs"](2),
            {"w": size * jnp.array([0.6, 0.0]), "b": size * jnp.array(0.8)},
        )
        w = jax.tree.map(jnp.ones_like, g)
        first, state = tx.update(g, tx.init(w), w)
        second, _ = tx.update(g, state, jax.tree.map(lambda x: x + 1, w))  # y = 0
        for x in (*jax.tree.leaves(first), *jax.tree.leaves(second)):
            expected = [min(1.0, size) * share for share in ((0.6, 0.0) if x.ndim else (0.8,))]
            if not np.allclose(x.ravel(), expected, rtol=1e-15, atol=0):
                return False
    return True


def _passes_over_nothing(namespace: Namespace) -> bool:
    """A leaf without a gradient takes no part: the other's directions are those it has alone, its
    own state stays.
    """
    tx, alone = namespace["scale_by_lbfgs"](3), namespace["scale_by_lbfgs"](3)
    w, rest = jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 4.0])
    both, one = tx.init({"a": w, "b": rest}), alone.init({"a": w})
    start = both
    for _ in range(5):
        g = w * jnp.array([1.0, 5.0, 2.0])
        updates, both = tx.update({"a": g, "b": None}, both, {"a": w, "b": rest})
        expected, one = alone.update({"a": g}, one, {"a": w})
        assert updates["b"] is None
        if not np.allclose(updates["a"], expected["a"], rtol=1e-14, atol=0):
            return False
        w = w - 0.1 * expected["a"]
    trees = ("params", "updates", "diff_params_memory", "diff_updates_memory")
    return all(np.array_equal(getattr(both, k)["b"], getattr(start, k)["b"]) for k in trees)


def _searches_by_default(namespace: Namespace) -> bool:
    tx, x = namespace["lbfgs"](), jnp.array([-1.2, 1.0])
    state = tx.init(x)
    for _ in range(3):
        value, g = jax.value_and_grad(valley)(x)
        updates, state = tx.update(g, state, x, value=value, grad=g, value_fn=counted(valley))
        x = x + updates
        assert float(state[-1].value) < float(value) and float(state[-1].info.curvature_error) == 0
    return True


PROBES = {
    "optax_lite.optimizers.lbfgs": {
        **{
            f"memory {m}, {s}": _walks(m, s, seed)
            for m, s, seed in ((1, True, 1), (3, True, 2), (10, False, 3))
        },
        "smallest curvature": lambda namespace: smallest_curvature_used(
            namespace["scale_by_lbfgs"]
        ),
        "first": _starts_with_unit_norm_at_most,
        "nothing": _passes_over_nothing,
        "searches": _searches_by_default,
        "defaults": prints("scale_by_lbfgs()"),
        "default search": prints(
            "lbfgs(linesearch=scale_by_zoom_linesearch(max_linesearch_steps=20, tol=0.0, "
            "increase_factor=2.0, slope_rtol=0.0001, curv_rtol=0.9, approx_dec_rtol=1e-06, "
            "stepsize_precision=1e-05, initial_guess_strategy='one'))"
        ),
    }
}
