"""Let Optuna suggest settings and train them as populations: 96 trials in batches of 32, which also
choose between methods.

    pip install -e ".[examples,sweep]"
    python examples/sweep_optuna.py            # half a minute on two cores; --quick for a look

With `storage="sqlite:///study.db"` in `create_study`, several processes or machines can work on one
study.
"""

import argparse

from digits import TRAIN, evaluate, init, loss

import optax_lite as ol
from optax_lite import sweep

try:
    import optuna
except ModuleNotFoundError:
    raise SystemExit("optuna is not installed; write pip install optuna") from None


def suggest(trial):
    rate = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    if trial.suggest_categorical("method", ["adamw", "sgd"]) == "adamw":
        decay = trial.suggest_float("weight_decay", 1e-5, 1.0, log=True)
        return ol.adamw(rate, b1=trial.suggest_float("b1", 0.5, 0.98), weight_decay=decay)
    return ol.sgd(rate, momentum=trial.suggest_float("momentum", 0.0, 0.98))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer trials and steps")
    arguments = parser.parse_args()
    steps, trials, batch = (50, 8, 4) if arguments.quick else (400, 96, 32)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True, multivariate=False)
    )
    train = sweep.training(init, loss, TRAIN, steps=steps, batch_size=64, eval_fn=evaluate)
    results = sweep.run_study(
        study, suggest, train, n_trials=trials, batch=batch, seeds=2, score="test loss", chunk=32
    )

    for i, result in enumerate(results):
        print(
            f"batch {i + 1}: best test loss {result.best().score:.4f}, compiled {result.compiles} "
            "programs"
        )
    print(f"best of {len(study.trials)} trials: {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    main()
