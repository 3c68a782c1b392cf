"""Population-based training finds a learning-rate schedule that nobody wrote down.

24 networks train side by side with SGD and momentum, on noisy labels and in small batches, where it
is best to be fast at first and slow at the end. Every 100 steps the worst quarter copies the best
and moves its learning rate up or down. The picture in `out/` shows the rates of all members over
time, the ancestry of the winner, and the best fixed rate.

    pip install -e ".[examples,sweep]"
    python examples/pbt_schedule.py            # half a minute on two cores; --quick for a look
"""

import argparse
from pathlib import Path

import numpy as np
from digits import TRAIN, evaluate, init, loss

import optax_lite as ol
from optax_lite import sweep


def noisy(labels, share=0.2):
    """Replace a share of the labels by random ones."""
    rng = np.random.default_rng(0)
    return np.where(
        rng.random(len(labels)) < share, rng.integers(0, 10, len(labels)), labels
    ).astype(np.int32)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    arguments = parser.parse_args()
    steps, every = (200, 50) if arguments.quick else (2000, 100)

    x, y = TRAIN
    population = sweep.grid(
        lambda learning_rate: ol.sgd(learning_rate, momentum=0.9),
        learning_rate=np.geomspace(3e-4, 0.3, 24),
    )
    train = sweep.training(
        init, loss, (x, noisy(y)), steps=steps, batch_size=8, eval_fn=evaluate, every=every
    )
    search = sweep.pbt(
        every,
        perturb={"learning_rate": (0.5, 0.8, 1.25)},
        bounds={"learning_rate": (1e-5, 1.0)},
        fraction=0.25,
    )
    fixed = sweep.run(population, train, score="test loss")
    moved = sweep.run(population, train, score="test loss", search=search)

    print(
        f"best fixed rate: {fixed.best().settings['learning_rate']:.2g}, test loss "
        f"{fixed.best().score:.4f}"
    )
    print(f"population-based: test loss {moved.best().score:.4f}; {len(moved.lineage)} copies")
    arguments.out.mkdir(exist_ok=True)
    figure = moved.plot()
    figure.savefig(arguments.out / "pbt_schedule.png", dpi=120)
    print(f"The picture is in {arguments.out / 'pbt_schedule.png'}.")


if __name__ == "__main__":
    main()
