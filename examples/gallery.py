"""Draw every optimizer's path on three landscapes: Rosenbrock's valley, Beale's function, a narrow
quadratic.

It draws a picture of each landscape in `out/`, with a panel for each method and a row for each
family, and `gallery.png`, with eight methods side by side. Each method takes one compiled program,
`jax.vmap` over 28 learning rates and the landscapes, because an optimizer is data; the rate that
ends lowest is drawn. Run it from the repository; it takes about five minutes on two cores:

    pip install -e ".[examples]"
    python examples/gallery.py            # --only "Adam's relatives" for one family
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.progress import track
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed; write pip install matplotlib rich"
    ) from None

STEPS = 300
RATES = jnp.geomspace(1e-5, 10.0, 28)
Make = Callable[[jax.Array], ol.GradientTransformation]  # learning rate -> transformation


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def quadratic(x, y):
    return (x**2 + 50 * y**2) / 2


# Name: function, start, minimum, and what the picture shows of x and y.
LANDSCAPES = {
    "Rosenbrock": (rosenbrock, (-1.2, 1.0), (1.0, 1.0), ((-2.0, 2.0), (-1.0, 3.0))),
    "Beale": (beale, (1.0, 1.5), (3.0, 0.5), ((-1.5, 4.5), (-2.0, 2.0))),
    "narrow quadratic": (quadratic, (-4.0, 1.2), (0.0, 0.0), ((-5.0, 3.0), (-1.8, 1.8))),
}


def searched(direction: Make) -> Make:
    """Add a backtracking line search that starts from the rate."""
    search = ol.scale_by_backtracking_linesearch
    return lambda rate: ol.chain(
        direction(1.0), search(30, max_learning_rate=rate, increase_factor=2.0)
    )


def decayed(make: Make) -> Make:
    """Decay the rate by a cosine."""
    return lambda rate: make(ol.cosine_decay_schedule(rate, STEPS))


def by(make: Callable, **settings) -> Make:
    return lambda rate: make(rate, **settings)


def in_rate_chain(direction: Callable[[], ol.GradientTransformation]) -> Make:
    return lambda rate: ol.chain(direction(), ol.scale_by_learning_rate(rate))


FAMILIES: dict[str, dict[str, Make]] = {
    "the course": {
        "sgd": ol.sgd,
        "momentum": by(ol.sgd, momentum=0.9),
        "Nesterov": by(ol.sgd, momentum=0.9, nesterov=True),
        "adagrad": ol.adagrad,
        "rmsprop": ol.rmsprop,
        "adadelta": ol.adadelta,
        "adam": ol.adam,
        "adamw": ol.adamw,
        "rprop": ol.rprop,
    },
    "signs and noise": {
        "sign_sgd": decayed(ol.sign_sgd),
        "signum": decayed(ol.signum),
        "lion": decayed(ol.lion),
        "C-Lion": decayed(in_rate_chain(lambda: ol.cautious(ol.scale_by_lion()))),
        "noisy_sgd": ol.noisy_sgd,
        "dpsgd": by(ol.dpsgd, l2_norm_clip=10.0, noise_multiplier=0.05, seed=0),
        "optimistic": ol.optimistic_gradient_descent,
        "optimistic adam": ol.optimistic_adam_v2,
    },
    "Adam's relatives": {
        "adabelief": ol.adabelief,
        "adamax": ol.adamax,
        "amsgrad": ol.amsgrad,
        "nadam": ol.nadam,
        "nadam_dozat": ol.nadam_dozat,
        "radam, clipped": lambda rate: ol.chain(ol.clip_by_global_norm(1.0), ol.radam(rate)),
        "yogi": ol.yogi,
        "adan": ol.adan,
        "acprop": ol.acprop,
    },
    "newer relatives": {
        "ademamix": ol.ademamix,
        "simplified_ademamix": ol.simplified_ademamix,
        "adopt": ol.adopt,
        "adam_atan2": ol.adam_atan2,
        "stable_adamw": ol.stable_adamw,
        "mars": ol.mars,
        "C-Adam": in_rate_chain(lambda: ol.cautious(ol.scale_by_adam())),
        "madgrad": ol.madgrad,
        "sophia": ol.sophia,
    },
    "by layer": {
        "novograd": ol.novograd,
        "lamb": decayed(ol.lamb),
        "lars": decayed(ol.lars),
        "fromage": decayed(ol.fromage),
        "adafactor": decayed(ol.adafactor),
        "sm3": ol.sm3,
        "galore": by(ol.galore, rank=1, update_proj_gap=10),
        "LDoG": lambda rate: ol.scale_by_distance_over_gradients(global_scale=-rate),
    },
    "matrices": {
        "muon": decayed(ol.muon),
        "soap": by(ol.soap, precondition_frequency=1),
        "shampoo": ol.shampoo,
        "sam": lambda rate: ol.sam(
            ol.sgd(rate, 0.9), ol.chain(ol.normalize(), ol.sgd(0.01)), opaque_mode=True
        ),
        "schedule_free_sgd": ol.schedule_free_sgd,
        "schedule_free_adamw": ol.schedule_free_adamw,
    },
    "no rate to find": {
        "prodigy": ol.prodigy,
        "dadapt_adamw": ol.dadapt_adamw,
        "dog": ol.dog,
        "dowg": ol.dowg,
        "cocob": ol.cocob,
        "mechanize": lambda rate: ol.mechanize(ol.sgd(rate, 0.9)),
        "momo": ol.momo,
        "momo_adam": ol.momo_adam,
        "polyak_sgd": ol.polyak_sgd,
    },
    "line searches": {
        "lbfgs": lambda rate: ol.lbfgs(linesearch=ol.scale_by_zoom_linesearch(20, rate)),
        "sgd, backtracking": searched(ol.sgd),
        "adam, backtracking": searched(ol.adam),
        "sgd, zoom": lambda rate: ol.chain(ol.sgd(1.0), ol.scale_by_zoom_linesearch(20, rate)),
    },
}

# What the README shows, of Rosenbrock's valley.
SHOWN = ("sgd", "momentum", "adagrad", "adam", "lion", "muon", "prodigy", "lbfgs")
Drawn = tuple[np.ndarray, float, float]  # points, learning rate, value at the end


def value_at(which, w):
    """Return the value of landscape `which` at a (1, 2) parameter, a matrix so that methods for
    matrices work on it.
    """
    return jax.lax.switch(
        which, [lambda w, f=f: f(w[0, 0], w[0, 1]) for f, *_ in LANDSCAPES.values()], w
    )


def path(
    make: Make, which: jax.Array, start: jax.Array, rate: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return all points from the start on, and their values."""
    tx, f = make(rate), functools.partial(value_at, which)
    per_example = make is FAMILIES["signs and noise"]["dpsgd"]

    def step(carry, _):
        w, state = carry
        value, g = jax.value_and_grad(f)(w)
        told = {
            "value": value,
            "grad": g,
            "value_fn": f,
            "obj_fn": f,
            "grad_fn": lambda w, i: jax.grad(f)(w),
        }
        w_new, state = tx.step(g[None] if per_example else g, state, w, **told)
        return (w_new, state), (w, value)

    (w, _), (points, values) = jax.lax.scan(step, (start, tx.init(start)), length=STEPS)
    return jnp.concatenate([points, w[None]])[:, 0], jnp.append(values, f(w))


def best_paths(make: Make) -> list[Drawn]:
    """Return, for each landscape, the path that ends lowest, its learning rate and its last value,
    from one program.
    """
    starts = jnp.array([[start] for _, start, *_ in LANDSCAPES.values()])
    over_rates = jax.vmap(functools.partial(path, make), (None, None, 0))
    run = jax.jit(jax.vmap(over_rates, (0, 0, None)))
    points, values = run(jnp.arange(len(LANDSCAPES)), starts, RATES)
    ends = jnp.where(jnp.all(jnp.isfinite(values), axis=-1), values[..., -1], jnp.inf)
    best = np.argmin(ends, axis=-1)
    return [
        (np.asarray(points[i, b]), float(RATES[b]), float(ends[i, b])) for i, b in enumerate(best)
    ]


def draw(name: str, rows: list[tuple[str, dict[str, Drawn]]], size: float) -> Figure:
    """Draw one landscape: a panel for each method, a row for each family, and the last value below
    each.
    """
    columns = max(len(methods) for _, methods in rows)
    figure = Figure(figsize=(size * columns, 1.4 * size * len(rows) + 0.6), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (family, methods) in zip(grid, rows, strict=True):
        for axes, (method, path) in zip(line, methods.items(), strict=False):
            axes.set_axis_on()
            draw_path(axes, name, *path)
            axes.set_title(method, fontsize=min(11, 5 * size), fontweight="bold")
        line[0].set_ylabel(family, fontsize=11)
    figure.suptitle(
        f"{name}: {STEPS} steps from the triangle to the dot;\nthe minimum, 0, is at the star\n"
        f"(each with the best of {len(RATES)} learning rates)",
        fontsize=11,
    )
    return figure


def draw_path(axes: Axes, name: str, points: np.ndarray, rate: float, end: float) -> None:
    f, start, minimum, (xs, ys) = LANDSCAPES[name]
    x, y = np.meshgrid(np.linspace(*xs, 120), np.linspace(*ys, 120))
    axes.contour(x, y, np.log10(f(x, y) + 1e-2), levels=10, cmap="Greys", alpha=0.4, linewidths=0.6)
    axes.plot(*points.T, color="#0072B2", lw=1, marker=".", ms=2)
    axes.plot(*start, "k>", ms=6)
    axes.plot(*minimum, "k*", ms=10)
    axes.plot(*points[-1], "o", color="#D55E00", ms=5)
    axes.set(xlim=xs, ylim=ys, xticks=[], yticks=[])
    axes.set_xlabel(f"ends at {end:.1g}\nlearning rate {rate:.2g}", fontsize=8)


def file_name(method: str) -> str:
    return "_".join(method.lower().replace(",", "").split()) + ".webp"


def draw_method(runs: list[Drawn]) -> Figure:
    """Draw one method's path on every landscape, side by side, for its own page."""
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    panels = figure.subplots(1, len(runs))
    for axes, name, (points, rate, end) in zip(panels, LANDSCAPES, runs, strict=True):
        draw_path(axes, name, points, rate, end)
        axes.set_title(name, fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(FAMILIES), help="one family")
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument(
        "--each", type=Path, help="also draw every method by itself, into this folder"
    )
    args = parser.parse_args()
    families = {args.only: FAMILIES[args.only]} if args.only else FAMILIES
    methods = [(family, name) for family, members in families.items() for name in members]
    found = {
        (family, name): best_paths(families[family][name])
        for family, name in track(methods, "methods")
    }
    if args.each is not None:
        args.each.mkdir(parents=True, exist_ok=True)
        for (_, name), runs in found.items():
            draw_method(runs).savefig(args.each / file_name(name), dpi=80)
    args.out.mkdir(exist_ok=True)
    for i, landscape in enumerate(LANDSCAPES):
        rows = [
            (family, {name: found[family, name][i] for name in members})
            for family, members in families.items()
        ]
        target = args.out / f"gallery_{landscape.lower().replace(' ', '_')}.png"
        save(draw(landscape, rows, 1.7), target)
    if not args.only:
        paths = {name: found[family, name][0] for family, name in methods if name in SHOWN}
        rows = [("", {name: paths[name] for name in half}) for half in (SHOWN[:4], SHOWN[4:])]
        save(draw("Rosenbrock", rows, 2.4), args.out / "gallery.png")


def save(figure: Figure, target: Path) -> None:
    figure.savefig(target, dpi=90)
    print(target)


if __name__ == "__main__":
    main()
