"""Compare SGD, momentum, RMSProp and Adam on one deep network, then each of them at 32 learning
rates at once.

It shows a progress bar, prints a table, and draws two pictures in `out/`. The network has six fully
connected layers and the data are scikit-learn's handwritten digits, so nothing is downloaded. Run
it from the repository:

    pip install -e ".[examples]"
    python examples/compare_optimizers.py          # about a minute on two cores; --quick for a look

Two lines matter. `jax.vmap(make)(learning_rates)` makes a population of optimizers, because an
optimizer is a pytree of its hyperparameters; and `train_epoch` takes the optimizer as an argument,
so that `jax.vmap` over this argument trains the whole population in one compiled program.
"""

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite import adam, rmsprop, sgd

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, MaxNLocator
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from sklearn.datasets import load_digits
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed; write pip install matplotlib rich scikit-learn"
    ) from None

TRAIN_SIZE = 1400
LAYERS = [64, 100, 100, 100, 100, 100, 10]
WEIGHT_STD = 5e-2
GUESSING = float(np.log(LAYERS[-1]))  # the loss of a network that knows nothing


class Optimizer(NamedTuple):
    make: Callable  # learning rate -> transformation
    learning_rate: float  # the one compared
    color: str
    marker: str


# Colours of Okabe & Ito 2008, which the colour-blind can tell apart too; of these, the ones dark
# enough for words.
OPTIMIZERS = {
    "SGD": Optimizer(sgd, 5e-3, "#000000", "o"),
    "Momentum": Optimizer(lambda rate: sgd(rate, momentum=0.9), 5e-3, "#0072B2", "s"),
    "RMSProp": Optimizer(
        lambda rate: rmsprop(rate, decay=0.99, eps_in_sqrt=False), 1e-4, "#009E73", "^"
    ),
    "Adam": Optimizer(adam, 1e-3, "#D55E00", "D"),
}


# --- data and network -----------------------------------------------------------------------------


class Data(NamedTuple):
    x: jax.Array
    y: jax.Array
    x_val: jax.Array
    y_val: jax.Array


def load_data() -> Data:
    """Return the digits as 8-bit pixels minus the mean training image.

    Pixels are not divided by anything: the small initial weights shrink a signal threefold per
    layer, so inputs of order one would leave the last layer with nothing to learn from. The classic
    rates are meant for pixels of this size.
    """
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] * (255 / 16), y[order]
    x = jnp.asarray(x - x[:TRAIN_SIZE].mean(axis=0), jnp.float32)
    y = jnp.asarray(y, jnp.int32)
    return Data(x[:TRAIN_SIZE], y[:TRAIN_SIZE], x[TRAIN_SIZE:], y[TRAIN_SIZE:])


def init_params(key):
    keys = jax.random.split(key, len(LAYERS) - 1)
    shapes = pairwise(LAYERS)
    return [
        {"w": WEIGHT_STD * jax.random.normal(k, shape), "b": jnp.zeros(shape[1])}
        for k, shape in zip(keys, shapes, strict=True)
    ]


def logits(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def cross_entropy(z, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))


def loss_fn(params, x, y):
    return cross_entropy(logits(params, x), y)


class Metrics(NamedTuple):
    loss: Any  # on all training data
    accuracy: Any
    val_accuracy: Any


def evaluate(params, data):
    def accuracy(z, y):
        return jnp.mean(jnp.argmax(z, axis=-1) == y)

    z = logits(params, data.x)
    return Metrics(
        cross_entropy(z, data.y),
        accuracy(z, data.y),
        accuracy(logits(params, data.x_val), data.y_val),
    )


# --- training -------------------------------------------------------------------------------------


def train_epoch(tx, params, state, batches, data):
    """Make one pass over the data; `tx` is an argument like any other, so it can be vmapped."""

    def step(carry, batch):
        params, state = carry
        grads = jax.grad(loss_fn)(params, data.x[batch], data.y[batch])
        return tx.step(grads, state, params), None

    (params, state), _ = jax.lax.scan(step, (params, state), batches)
    return params, state, evaluate(params, data)


def init_state(tx, params):
    return tx.init(params)


# One optimizer for many seeds, each with its own weights and batches; and many optimizers for one
# seed.
init_seeds = jax.jit(jax.vmap(init_state, in_axes=(None, 0)))
train_seeds = jax.jit(jax.vmap(train_epoch, in_axes=(None, 0, 0, 0, None)))
init_population = jax.jit(jax.vmap(init_state))
train_population = jax.jit(jax.vmap(train_epoch, in_axes=(0, 0, 0, None, None)))


class Run(NamedTuple):
    history: Metrics  # arrays of shape (epochs, seeds or rates)
    compile_seconds: float  # tracing included
    train_seconds: float


def run(train, tx, params, state, epochs, data, on_epoch) -> Run:
    """Compile `train` for this kind of optimizer, then call it once per epoch."""
    start = time.perf_counter()
    compiled = train.lower(tx, params, state, epochs[0], data).compile()
    compiled_at = time.perf_counter()
    history = []
    for batches in epochs:
        params, state, metrics = compiled(tx, params, state, batches, data)
        history.append(jax.tree.map(np.asarray, metrics))
        on_epoch(metrics.loss)
    seconds = time.perf_counter() - compiled_at
    return Run(jax.tree.map(lambda *x: np.stack(x), *history), compiled_at - start, seconds)


def shuffled(seed: int, args):
    """Return indices of shape (epochs, batches, batch_size)."""
    rng = np.random.default_rng(seed)
    used = TRAIN_SIZE // args.batch_size * args.batch_size
    orders = np.stack([rng.permutation(TRAIN_SIZE)[:used] for _ in range(args.epochs)])
    return jnp.asarray(orders, jnp.int32).reshape(args.epochs, -1, args.batch_size)


def compare(data, params, epochs, progress) -> dict[str, Run]:
    """Run every optimizer at its classic rate, from the same initial weights and on the same
    batches.
    """
    first = jax.jit(jax.vmap(evaluate, in_axes=(0, None)))(params, data)
    runs = {}
    for name, optimizer in OPTIMIZERS.items():
        on_epoch = bar(progress, name, len(epochs), lambda loss: f"mean loss {loss.mean():.2g}")
        tx = optimizer.make(optimizer.learning_rate)
        result = run(train_seeds, tx, params, init_seeds(tx, params), epochs, data, on_epoch)
        history = jax.tree.map(lambda a, b: np.concatenate([a[None], b]), first, result.history)
        runs[name] = result._replace(history=history)
    return runs


def sweep(data, params, epochs, learning_rates, progress) -> dict[str, Run]:
    """Run every optimizer at every rate, each population in one compiled program."""
    copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (len(learning_rates), *p.shape)), params)
    runs = {}
    for name, optimizer in OPTIMIZERS.items():
        title = f"{name}, {len(learning_rates)} rates"
        on_epoch = bar(
            progress, title, len(epochs), lambda loss: f"best loss {np.nanmin(loss):.2g}"
        )
        population = jax.vmap(optimizer.make)(learning_rates)
        state = init_population(population, copies)
        runs[name] = run(train_population, population, copies, state, epochs, data, on_epoch)
    return runs


def bar(progress, title, total, describe):
    """A progress bar that ends with a few words about the loss."""
    task = progress.add_task(title, total=total, loss="compiling")
    return lambda loss: progress.update(task, advance=1, loss=describe(np.asarray(loss)))


# --- what is shown --------------------------------------------------------------------------------


def make_table(runs: dict[str, Run], args) -> Table:
    title = f"After {args.epochs} epochs: mean ± standard deviation over {args.seeds} seeds"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("optimizer", no_wrap=True)
    columns = (
        "learning\nrate",
        "training\nloss",
        "training\nacc. (%)",
        "validation\nacc. (%)",
        "time (s) +\ncompiling",
    )
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, (history, compile_seconds, train_seconds) in runs.items():
        table.add_row(
            name,
            f"{OPTIMIZERS[name].learning_rate:g}",
            mean_and_spread(history.loss[-1], 6),
            mean_and_spread(100 * history.accuracy[-1], 1),
            mean_and_spread(100 * history.val_accuracy[-1], 1),
            f"{train_seconds:.1f} + {compile_seconds:.1f}",
        )
    return table


def mean_and_spread(values, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def final(values) -> float:
    """The mean over seeds after the last epoch."""
    return float(values[-1].mean())


def times(ratio: float) -> str:
    """A ratio to two digits: 3.7×, 42×, 900×."""
    return f"{float(f'{ratio:.2g}'):,.{0 if ratio >= 10 else 1}f}×"


PAPER = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "savefig.dpi": 200,
}


def label_ends(ax, ends: dict[str, float], show: Callable[[float], str]) -> None:
    """Give every curve its last value, with a leader where the numbers would lie on each other."""
    gap, free = 0.08, 1.0
    heights = {
        name: ax.transAxes.inverted().transform(ax.transData.transform((0, y)))[1]
        for name, y in ends.items()
    }
    for name in sorted(heights, key=heights.get, reverse=True):
        height, color = min(heights[name], free), OPTIMIZERS[name].color
        free = height - gap
        style = {"color": color, "transform": ax.transAxes, "clip_on": False}
        ax.plot([1.02, 1.07], [heights[name], height], linewidth=0.8, **style)
        ax.text(1.085, height, show(ends[name]), va="center", **style)


def draw_curves(ax, runs: dict[str, Run], field: str, factor: float = 1.0) -> None:
    """Draw means over seeds, with bands from the lowest to the highest."""
    for name, optimizer in OPTIMIZERS.items():
        values = factor * getattr(runs[name].history, field)
        epochs = np.arange(len(values))
        ax.fill_between(
            epochs,
            values.min(axis=1),
            values.max(axis=1),
            color=optimizer.color,
            alpha=0.15,
            linewidth=0,
        )
        marks = {
            "marker": optimizer.marker,
            "markersize": 4.5,
            "markevery": max(1, len(values) // 5),
        }
        label = f"{name}, rate {optimizer.learning_rate:g}"
        ax.plot(epochs, values.mean(axis=1), color=optimizer.color, label=label, **marks)
    ax.set(xlabel="Epoch", xlim=(0, 1.02 * (len(epochs) - 1)))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def draw_accuracy(ax, runs: dict[str, Run], field: str, label: str) -> dict[str, float]:
    """Draw an accuracy in percent, from well below the lowest end, so that the ends can be told
    apart.
    """
    ends = {name: 100 * final(getattr(r.history, field)) for name, r in runs.items()}
    draw_curves(ax, runs, field, factor=100)
    ax.set(ylabel=label, ylim=(max(0, 10 * ((min(ends.values()) - 25) // 10)), 101))
    label_ends(ax, ends, lambda value: f"{value:.1f}")
    return ends


def first_past(runs: dict[str, Run], goal: float = 0.95) -> str:
    """Say which optimizer reaches a training accuracy first."""
    means = {name: r.history.accuracy.mean(axis=1) for name, r in runs.items()}
    reached = {
        name: int(np.argmax(mean >= goal)) for name, mean in means.items() if mean.max() >= goal
    }
    if not reached:
        return f"None reaches {goal:.0%} yet"
    first = min(reached.values())
    who = " and ".join(name for name, epoch in reached.items() if epoch == first)
    return f"{who} first to {goal:.0%}: epoch {first}"


def plot_comparison(runs: dict[str, Run], args, path: Path) -> None:
    figure = Figure(figsize=(11, 4.1), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    loss, accuracy, val_accuracy = figure.subplots(1, 3)

    ends = {name: final(r.history.loss) for name, r in runs.items()}
    draw_curves(loss, runs, "loss")
    loss.set(yscale="log", ylabel="Training loss (nats)")
    label_ends(loss, ends, lambda value: f"{value:.2g}")
    best, *_, worst = sorted(ends, key=ends.get)
    loss.set_title(f"{best} ends {times(ends[worst] / ends[best])} below {worst}")

    draw_accuracy(accuracy, runs, "accuracy", "Training accuracy (%)")
    accuracy.set_title(first_past(runs))

    ends = draw_accuracy(val_accuracy, runs, "val_accuracy", "Validation accuracy (%)")
    worst, *_, best = sorted(ends, key=ends.get)
    val_accuracy.set_title(f"{best} {ends[best] - ends[worst]:.1f} points above {worst}")

    note = (
        f"Six-layer network on handwritten digits, {TRAIN_SIZE:,} to train. Mean of {args.seeds} "
        "seeds, bands from the lowest to the highest; all optimizers share initial weights and "
        "batches."
    )
    figure.legend(
        *loss.get_legend_handles_labels(), loc="outside upper left", ncols=len(runs), frameon=False
    )
    figure.supxlabel(note, fontsize=9, color="#555555", x=0.005, ha="left")
    figure.savefig(path)


def plot_sweep(learning_rates, sweeps: dict[str, Run], runs: dict[str, Run], path: Path) -> None:
    """Draw a panel per optimizer, with the others in grey behind it and failed runs as crosses on
    top.
    """
    rates, ceiling = np.asarray(learning_rates), 4 * GUESSING
    losses = {name: np.nan_to_num(r.history.loss[-1], nan=np.inf) for name, r in sweeps.items()}
    # of the seed that the sweep has too
    compared = {name: r.history.loss[-1, 0] for name, r in runs.items()}
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axes = figure.subplots(1, len(losses), sharey=True)
    for ax, (name, values) in zip(axes, losses.items(), strict=True):
        for other in losses.values():
            ax.plot(rates, np.where(other < ceiling, other, np.nan), color="#cccccc", linewidth=1)
        ax.axhline(GUESSING, color="#777777", linewidth=1, linestyle=":")
        draw_sweep(ax, OPTIMIZERS[name], rates, values, compared[name], ceiling)
        title = sweep_finding(
            compared[name] / values.min(), rates[values.argmin()], OPTIMIZERS[name].learning_rate
        )
        ax.set_title(f"{name}: {title}", color=OPTIMIZERS[name].color)
        ax.set(xscale="log", yscale="log", xlabel="Learning rate", ylim=(None, 1.5 * ceiling))
        ax.xaxis.set_major_locator(LogLocator(numticks=10))
    epochs = len(next(iter(runs.values())).history.loss) - 1
    axes[0].set_ylabel(f"Training loss after {epochs} epochs (nats)")

    tuned = [values.min() for values in losses.values()]
    apart, apart_tuned = max(compared.values()) / min(compared.values()), max(tuned) / min(tuned)
    # "Most" on a log scale: tuning has to take away more than half of the gap.
    finding = (
        "Most of the gap is the learning rate"
        if apart_tuned < apart**0.5
        else "Tuning does not close the gap"
    )
    title = (
        f"{finding} (seed 0): {times(apart)} between the compared rates, {times(apart_tuned)} "
        "between the best ones"
    )
    figure.suptitle(title, x=0.005, ha="left")
    figure.legend(
        *legend_of_sweep(), loc="outside lower left", ncols=5, frameon=False, columnspacing=1.6
    )
    figure.savefig(path)


def sweep_finding(gain: float, best: float, compared: float) -> str:
    if gain <= 1:
        return f"none better\nthan the compared {compared:g}"
    return f"{times(gain)} lower\nat {best:.2g} than at {compared:g}"


def draw_sweep(ax, optimizer, rates, values, compared, ceiling):
    kept, color = values < ceiling, optimizer.color
    ax.plot(
        rates, np.where(kept, values, np.nan), color=color, marker=optimizer.marker, markersize=3.5
    )
    ax.plot(rates, np.where(kept, np.nan, ceiling), "x", color=color, markersize=5)
    ax.plot(
        optimizer.learning_rate,
        compared,
        "o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor="black",
    )
    ax.plot(
        rates[values.argmin()],
        values.min(),
        "*",
        markersize=15,
        color=color,
        markeredgecolor="black",
    )


def legend_of_sweep():
    black = {"color": "black", "linestyle": "none"}
    return [
        Line2D([], [], marker="*", markersize=12, **black),
        Line2D([], [], marker="o", markersize=10, markerfacecolor="none", **black),
        Line2D([], [], marker="x", **black),
        Line2D([], [], color="#777777", linestyle=":"),
        Line2D([], [], color="#cccccc"),
    ], [
        "best of the sweep",
        "rate of the comparison",
        f"diverged or above {4 * GUESSING:.0f}",
        "guessing (ln 10)",
        "the others",
    ]


# --- the command ----------------------------------------------------------------------------------


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--epochs", type=positive, help="passes over the training data (20; quick: 3)"
    )
    parser.add_argument(
        "--seeds", type=positive, help="initial weights and batch orders (5; quick: 2)"
    )
    parser.add_argument(
        "--sweep-points", type=positive, help="learning rates of the sweep (32; quick: 8)"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=100, help=f"at most {TRAIN_SIZE} (100)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="folder of the pictures (out)"
    )
    parser.add_argument("--quick", action="store_true", help="small defaults, for a look or a test")
    args = parser.parse_args()
    if args.batch_size > TRAIN_SIZE:
        parser.error(f"--batch-size must be at most {TRAIN_SIZE}, got {args.batch_size}")
    args.epochs = args.epochs or (3 if args.quick else 20)
    args.seeds = args.seeds or (2 if args.quick else 5)
    args.sweep_points = args.sweep_points or (8 if args.quick else 32)
    return args


def main():
    args, console, start = parse_args(), Console(), time.perf_counter()
    data = load_data()
    params = jax.jit(jax.vmap(init_params))(jax.vmap(jax.random.key)(jnp.arange(args.seeds)))
    epochs = jnp.stack([shuffled(seed, args) for seed in range(args.seeds)], axis=1)
    learning_rates = jnp.logspace(-5, 0, args.sweep_points)
    name, loss = TextColumn("{task.description:20}"), TextColumn("{task.fields[loss]}")
    columns = (
        name,
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeElapsedColumn(),
        loss,
    )
    with Progress(*columns, console=console) as progress:
        runs = compare(data, params, epochs, progress)
        first_seed = jax.tree.map(lambda p: p[0], params)
        sweeps = sweep(data, first_seed, epochs[:, 0], learning_rates, progress)
    console.print(make_table(runs, args))

    args.out.mkdir(parents=True, exist_ok=True)
    pictures = args.out / "compare_optimizers.png", args.out / "learning_rate_sweep.png"
    with matplotlib.rc_context(PAPER):
        plot_comparison(runs, args, pictures[0])
        plot_sweep(learning_rates, sweeps, runs, pictures[1])
    print(f"{time.perf_counter() - start:.0f} s. Pictures: {pictures[0]} and {pictures[1]}")
    print(
        "Next: give OPTIMIZERS a row, say adamw; try --sweep-points 64; then read "
        "examples/training_loop.py"
    )


if __name__ == "__main__":
    main()
