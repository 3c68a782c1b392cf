"""Fine-tuning: a network that knows the digits 0 to 4 learns 5 to 9, first with its head only, then
with all of it.

It prints a table of what the optimizer does to each parameter and what that costs, a report of how
the state is carried over when the backbone is unfrozen, and test accuracies, and draws a picture in
`out/`. Run it from the repository:

    pip install -e ".[examples]"
    python examples/finetune.py            # half a minute on two cores; --quick for a look

`make_optimizer` makes the optimizer, and `main` trains. The loop has no code for freezing,
accumulation, averages or metrics.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

try:
    import flax.linen as nn
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed; write pip install flax matplotlib scikit-learn"
    ) from None

MICRO_BATCH, EVERY = 32, 2  # images at a time, and micro-batches for one step
MAX_NORM = 1.0
TEST_SIZE = 400


# --- network and data -----------------------------------------------------------------------------


class Backbone(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.gelu(nn.LayerNorm()(nn.Conv(32, (3, 3), strides=2)(x)))
        return x[..., 0, 0, :]


class Network(nn.Module):
    def setup(self):
        self.backbone, self.head = Backbone(), nn.Dense(5)

    def __call__(self, x):
        return self.head(self.backbone(x))


def loss_fn(params, x, y):
    logits = Network().apply({"params": params}, x)
    return ol.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@jax.jit
def accuracy(params, x, y):
    return 100 * jnp.mean(Network().apply({"params": params}, x).argmax(-1) == y)


def load_data():
    """Return images and labels: the digits 0 to 4 to pretrain on, 5 to 9 to train and to test
    on.
    """
    x, y = load_digits(return_X_y=True)
    x, old = (x / 16).reshape(-1, 8, 8, 1).astype(np.float32), y < 5
    x_new, y_new = x[~old], y[~old] - 5
    return (
        (x[old], y[old]),
        (x_new[TEST_SIZE:], y_new[TEST_SIZE:]),
        (x_new[:TEST_SIZE], y_new[:TEST_SIZE]),
    )


# --- the optimizer --------------------------------------------------------------------------------


def make_optimizer(steps):
    """Build the optimizer from the inside out; everything inside `accumulate` sees steps, not
    micro-batches.
    """
    schedule = ol.warmup_cosine_decay_schedule(
        0.0, 1e-2, warmup_steps=steps // 10, decay_steps=steps, end_value=1e-3
    )
    rules = {
        "backbone": {"learning_rate": 0.1 * schedule},
        ("bias", "scale"): {"weight_decay": 0.0},
    }
    tx = ol.groups(ol.adamw(schedule, weight_decay=0.05), rules)
    # around the groups: one norm over all of them
    tx = ol.chain(ol.clip_by_global_norm(MAX_NORM), tx)
    tx = ol.average_params(tx, decay=0.95)
    tx = ol.with_metrics(ol.skip_bad_steps(tx, outlier=10.0))
    return ol.accumulate(tx, EVERY)


def train(tx, params, state, steps, data, test, rng, log):
    """Train for `steps` more steps and log each, with rates and accuracies in every fifth row."""
    step = ol.make_step(loss_fn)
    for _ in range(steps):
        losses = []
        for _ in range(EVERY):
            rows = rng.choice(len(data[1]), MICRO_BATCH, replace=False)
            params, state, metrics = step(tx, params, state, *(a[rows] for a in data))
            losses.append(metrics["loss"])
        log.append(metrics | {"step": len(log) + 1, "loss": sum(losses) / EVERY})
        if len(log) % 5 == 0:
            # by path: .../base/learning_rate, .../backbone/learning_rate
            now = ol.current_hyperparams(tx, state)
            log[-1] |= {
                path.split("/")[-2]: rate
                for path, rate in now.items()
                if path.endswith("learning_rate")
            }
            log[-1] |= {
                "raw": accuracy(params, *test),
                "averaged": accuracy(ol.eval_params(tx, state, params), *test),
            }
    return params, state


# --- the picture ----------------------------------------------------------------------------------

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def plot(log, unfrozen_at, path):
    def draw(ax, title, curves, *, yscale="log"):
        """Draw columns of the log over its steps: {column: (words, colour)}."""
        for name, (words, color) in curves.items():
            steps, values = np.array(
                [(row["step"], row[name]) for row in log if name in row], float
            ).T
            values[values <= 0] = np.nan  # a rate of 0 has no place on a log scale
            ax.plot(steps, values, color=color, linewidth=1.6, label=words)
        line = {"color": GREY, "linewidth": 1, "linestyle": "--", "label": "backbone unfrozen"}
        ax.axvline(unfrozen_at, **line)
        ax.set(yscale=yscale, xlim=(0, len(log)), xlabel="Step")
        ax.set_title(title, loc="left", fontsize=11)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="#e4e4e4", linewidth=0.7)

    figure = Figure(figsize=(11, 7.4), layout="constrained")
    (rates, norms), (loss, accuracies) = figure.subplots(2, 2)
    draw(rates, "Learning rate", {"base": ("head", BLUE), "backbone": ("backbone", ORANGE)})
    curves = {"grad_norm": ("gradient", BLUE), "update_norm": ("update", ORANGE)}
    curves |= {"update_ratio": ("update / parameters", GREEN)}
    draw(norms, "Norms, and update / parameters", curves)
    norms.axhline(MAX_NORM, color=GREY, linewidth=1, linestyle=":", label="clipped to this norm")
    draw(loss, "Training loss", {"loss": ("loss (nats)", BLUE)})
    curves = {"raw": ("parameters", BLUE), "averaged": ("their average", ORANGE)}
    draw(accuracies, "Test accuracy (%)", curves, yscale="linear")
    for ax in (rates, norms, loss, accuracies):  # under the axes, where no curve is
        box = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15)}
        ax.legend(ncols=3, frameon=False, fontsize=9, columnspacing=1.2, **box)
    before, after = (row["averaged"] for row in (log[unfrozen_at - 1], log[-1]))
    title = f"Unfreezing the backbone takes the test accuracy from {before:.0f} % to {after:.0f} %"
    figure.suptitle(title, x=0.005, ha="left", fontsize=12, fontweight="bold")
    figure.savefig(path, dpi=150)


# --- the command ----------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--steps", type=int, help="steps of fine-tuning, the first third with the head only (180)"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture (out)")
    parser.add_argument("--quick", action="store_true", help="small defaults, for a look or a test")
    args, start = parser.parse_args(), time.perf_counter()
    steps = args.steps or (30 if args.quick else 180)
    frozen_steps = steps // 3

    old, new, test = load_data()
    fresh = Network().init(jax.random.key(0), old[0][:1])["params"]
    params, history = ol.fit(
        loss_fn, fresh, old, ol.adamw(3e-3), steps=50 if args.quick else 300, batch_size=64
    )
    print(f"Pretrained on 0 to 4: {history}\n")

    params = {"backbone": params["backbone"], "head": fresh["head"]}
    tx = make_optimizer(steps)
    # outermost, so that frozen leaves are in no norm and no average
    head_only = ol.groups(tx, {"backbone": "freeze"})
    print(ol.explain(head_only, params))

    rng, log = np.random.default_rng(0), []
    params, state = train(
        head_only, params, head_only.init(params), frozen_steps, new, test, rng, log
    )

    state, report = ol.transfer(state, tx, params)
    print(f"\nThe backbone is unfrozen.\n{report}\n\n{ol.explain(tx, params)}\n")
    params, state = train(tx, params, state, steps - frozen_steps, new, test, rng, log)

    for when, row in (("with the head only", log[frozen_steps - 1]), ("at the end", log[-1])):
        print(
            f"Test accuracy {when}: {row['raw']:.1f} %, of the averaged parameters "
            f"{row['averaged']:.1f} %"
        )
    print(f"Of {steps} steps {log[-1]['clipped']} were clipped and {log[-1]['skipped']} skipped")
    args.out.mkdir(parents=True, exist_ok=True)
    picture = args.out / "finetune.png"
    plot(log, frozen_steps, picture)
    print(f"{time.perf_counter() - start:.0f} s. Picture: {picture}")


if __name__ == "__main__":
    main()
