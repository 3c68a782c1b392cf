"""Fine-tuning: a network that knows the digits 0 to 4 learns 5 to 9, first with its head only, then with all of it.

What one sees: the table of what the optimizer does to each parameter and what that costs, the report of how its state is
carried on when the backbone is unfrozen, test accuracies, and a picture in `out/`. Run it from the repository:

    pip install -e ".[examples]"
    python examples/finetune.py            # half a minute on two cores; --quick for a look

The optimizer is in `make_optimizer`, the run in `main`. Nothing in the loop knows of any of it.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

try:
    import flax.linen as nn
    import matplotlib
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits
except ModuleNotFoundError as missing:
    raise SystemExit(f'{missing.name} is not installed; write: pip install "optax_lite[examples]"') from None

MICRO_BATCH, EVERY = 32, 2  # images at a time, and micro-batches for one step
MAX_NORM = 1.0
TEST_SIZE = 400


# --- network and data ------------------------------------------------------------------------------------------------


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
    """Images and labels: the digits 0 to 4 to pretrain on, 5 to 9 to train and to test on."""
    x, y = load_digits(return_X_y=True)
    x, old = (x / 16).reshape(-1, 8, 8, 1).astype(np.float32), y < 5
    x_new, y_new = x[~old], y[~old] - 5
    return (x[old], y[old]), (x_new[TEST_SIZE:], y_new[TEST_SIZE:]), (x_new[:TEST_SIZE], y_new[:TEST_SIZE])


# --- the optimizer ---------------------------------------------------------------------------------------------------


def make_optimizer(steps, steps_of_backbone):
    """From the inside out; what is inside `accumulate` sees steps, and not micro-batches."""
    schedule = ol.warmup_cosine_decay_schedule(0.0, 1e-2, steps // 10, steps)
    slower = 0.1 * ol.warmup_cosine_decay_schedule(0.0, 1e-2, steps_of_backbone // 10, steps_of_backbone)
    tx = ol.groups(
        ol.adamw(schedule, weight_decay=0.05),
        {"backbone": {"learning_rate": slower}, ("bias", "scale"): {"weight_decay": 0.0}},
    )
    tx = ol.chain(ol.clip_by_global_norm(MAX_NORM), tx)  # one norm over all groups
    tx = ol.with_metrics(ol.skip_bad_steps(tx))  # the norm before the clip
    return ol.accumulate(ol.average_params(tx, decay=0.95), EVERY)


def train(tx, params, state, steps, data, test, rng, log):
    """`steps` steps; after each a row for the log."""
    step = ol.make_step(loss_fn)
    for _ in range(steps):
        losses = []
        for _ in range(EVERY):
            rows = rng.choice(len(data[1]), MICRO_BATCH, replace=False)
            params, state, metrics = step(tx, params, state, *(a[rows] for a in data))
            losses.append(metrics["loss"])
        row = {"step": len(log) + 1, "loss": sum(losses) / EVERY}
        row |= {name: metrics[name] for name in ("grad_norm", "update_norm", "update_ratio", "clipped", "skipped")}
        now = ol.current_hyperparams(tx, state)
        row |= {path.split("/")[-2]: rate for path, rate in now.items() if path.endswith("learning_rate")}
        row["raw"], row["averaged"] = accuracy(params, *test), accuracy(ol.eval_params(tx, state, params), *test)
        log.append(row)
    return params, state


# --- the picture -----------------------------------------------------------------------------------------------------


def plot(log, unfrozen_at, path):
    def draw(ax, title, yscale, **curves):
        for (name, label), color in zip(curves.items(), ("#0072B2", "#D55E00"), strict=False):
            steps, values = zip(*[(row["step"], row[name]) for row in log if name in row], strict=True)
            ax.plot(steps, np.array(values), color=color, label=label, linewidth=1.5)
        ax.axvline(unfrozen_at, color="#777777", linewidth=1, linestyle="--")
        ax.set(yscale=yscale, xlim=(0, len(log)))
        ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
        if len(curves) > 1:
            ax.legend(frameon=False)

    figure = Figure(figsize=(12, 6.2), layout="constrained")
    (rates, grads, updates), (ratio, loss, accuracies) = figure.subplots(2, 3, sharex=True)
    draw(rates, "Learning rate", "log", base="head", backbone="backbone")
    draw(grads, "Gradient norm", "log", grad_norm="before clipping")
    draw(updates, "Update norm", "log", update_norm="")
    draw(ratio, "Update norm / parameter norm", "log", update_ratio="")
    draw(loss, "Training loss (nats)", "log", loss="")
    draw(accuracies, "Test accuracy (%)", "linear", raw="parameters", averaged="their average")
    figure.savefig(path, dpi=150)


# --- the command -----------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, help="steps of fine-tuning, the first third with the head only (180)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture (out)")
    parser.add_argument("--quick", action="store_true", help="small defaults, for a look or a test")
    args = parser.parse_args()
    steps = args.steps or (30 if args.quick else 180)
    frozen_steps = steps // 3

    old, new, test = load_data()
    fresh = Network().init(jax.random.key(0), old[0][:1])["params"]
    params, history = ol.fit(loss_fn, fresh, old, ol.adamw(3e-3), steps=50 if args.quick else 300, batch_size=64)
    print(f"Pretrained on 0 to 4: {history}\n")

    params = {"backbone": params["backbone"], "head": fresh["head"]}
    tx = make_optimizer(steps, steps - frozen_steps)
    head_only = ol.groups(tx, {"backbone": "freeze"})  # outermost, so that frozen leaves are in no norm and no average
    print(ol.explain(head_only, params))

    rng, log = np.random.default_rng(0), []
    params, state = train(head_only, params, head_only.init(params), frozen_steps, new, test, rng, log)

    state, report = ol.transfer(state, tx, params)
    print(f"\nThe backbone is unfrozen.\n{report}\n\n{ol.explain(tx, params)}\n")
    params, state = train(tx, params, state, steps - frozen_steps, new, test, rng, log)

    for row in (log[frozen_steps - 1], log[-1]):
        print({name: round(float(value), 4) for name, value in row.items()})
    args.out.mkdir(parents=True, exist_ok=True)
    plot(log, frozen_steps, args.out / "finetune.png")


if __name__ == "__main__":
    main()
