"""The import against optax's: `python -m benchmarks.imports` prints a row for the import and one
for the import with a first AdamW, and fails if one takes longer than optax's.

Each is timed in new processes that take turns, after `import jax, jax.numpy`, in seconds of CPU,
which a busy machine disturbs least. The garbage collector runs as it does for users.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.measure import ratio

STATEMENTS = {"import": "import {0}", "import, adamw(1e-3)": "import {0}; {0}.adamw(1e-3)"}
LIBRARIES = {"ours": "optax_lite", "optax": "optax"}


def seconds(statement: str, environment: dict[str, str]) -> float:
    """CPU time of a statement in a new process that has imported JAX."""
    code = (
        "import time, jax, jax.numpy; start = time.process_time()\n"
        f"{statement}\nprint(time.process_time() - start)"
    )
    command = [sys.executable, "-c", code]
    return float(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    )


def main() -> None:
    """Print the rows; exit with 1 if a ratio is above 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats, missed = parser.parse_args().repeats, False
    with tempfile.TemporaryDirectory() as cache:
        # Bytecode is written by the first, untimed round, whatever the shell has set.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name, statement in STATEMENTS.items():
            times: dict[str, list[float]] = {library: [] for library in LIBRARIES}
            for round_ in range(repeats + 1):
                for library, module in LIBRARIES.items():
                    took = seconds(statement.format(module), environment)
                    if round_:
                        times[library].append(took)
            share = ratio(times)
            ours, optax = (1e3 * statistics.median(times[library]) for library in LIBRARIES)
            print(f"{name:20} {ours:4.0f} ms, optax {optax:4.0f} ms, ratio {share:.2f}, at most 1")
            missed |= share > 1
    sys.exit(missed)


if __name__ == "__main__":
    main()
