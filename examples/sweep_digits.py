"""Sweep four methods over learning rate, weight decay and three seeds: 288 training runs in one
call.

While it runs, it shows how many runs are alive and the best so far. Then it prints a table of
settings, which method is best, and whether its learning rate is at the edge of what was tried, and
draws pictures in `out/`. Run it from the repository:

    pip install -e ".[examples,sweep]"
    python examples/sweep_digits.py            # about a minute on two cores; --quick for a look
"""

import argparse
from pathlib import Path

import numpy as np
from digits import TRAIN, evaluate, init, loss

import optax_lite as ol
from optax_lite import sweep


def adamw(method, learning_rate, weight_decay):
    return ol.adamw(learning_rate, weight_decay=weight_decay)


def sgd(method, learning_rate, weight_decay):
    return ol.chain(
        ol.add_decayed_weights(weight_decay), ol.sgd(learning_rate, momentum=0.9, nesterov=True)
    )


def lion(method, learning_rate, weight_decay):
    return ol.lion(learning_rate, weight_decay=weight_decay)


def muon(method, learning_rate, weight_decay):
    return ol.contrib.muon(learning_rate, weight_decay=weight_decay)


METHODS = {  # the middle of the learning rates to try
    "AdamW": (adamw, 3e-3),
    "SGD, Nesterov": (sgd, 1e-1),
    "Lion": (lion, 1e-3),
    "Muon": (muon, 2e-2),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps and settings")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
    arguments = parser.parse_args()
    steps, rates, seeds = (60, 3, 1) if arguments.quick else (600, 8, 3)

    spaces = [
        sweep.grid(
            factory,
            method=[name],
            learning_rate=middle * np.geomspace(1 / 30, 30, rates),
            weight_decay=[0, 1e-3, 1e-1],
        )
        for name, (factory, middle) in METHODS.items()
    ]
    population = sum(spaces[1:], start=spaces[0])
    train = sweep.training(init, loss, TRAIN, steps=steps, batch_size=64, eval_fn=evaluate)
    result = sweep.run(population, train, seeds=seeds, score="error", checkpoint=None)

    print(result)
    print(result.table(12))
    arguments.out.mkdir(exist_ok=True)
    result.to_csv(arguments.out / "sweep_digits.csv")
    figure = result.plot()
    figure.savefig(arguments.out / "sweep_digits.png", dpi=120)
    print(
        f"\nThe pictures are in {arguments.out / 'sweep_digits.png'}, every run in "
        "sweep_digits.csv beside it."
    )


if __name__ == "__main__":
    main()
