"""A progress bar where it can be seen."""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optax_lite._numbers import show_number
from optax_lite._optional import optional_import
from optax_lite.core.validate import ArgumentError


@contextlib.contextmanager
def bar(
    progress: Any, steps: int, unit: str = "steps", where: str = "fit"
) -> Iterator[Callable[..., None]]:
    """Yield `show(done, numbers, rate=None)`, which draws at most ten times a second; with "auto"
    nothing where nobody would see it. Without a rate all time counts, that of compiling too.
    """
    if progress not in (True, False, "auto"):
        raise ArgumentError(f"progress must be 'auto', True or False, got {progress!r}", where)
    if progress is False or (progress == "auto" and not _is_seen()):
        yield lambda done, numbers, rate=None: None
        return
    rich = optional_import("rich.progress", f"{where}(..., progress=True)")
    columns = rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.fields[text]}")
    with rich.Progress(*columns, rich.TimeRemainingColumn()) as shown:
        task, start, last = (
            shown.add_task("", total=steps, text="compiling"),
            time.perf_counter(),
            [0.0],
        )

        def show(done: int, numbers: Mapping[str, float], rate: float | None = None) -> None:
            now = time.perf_counter()
            if now - last[0] > 0.1 or done == steps:
                last[0] = now
                rate = done / (now - start) if rate is None else rate
                parts = [f"{name} {show_number(value, 4)}" for name, value in numbers.items()]
                parts += [f"{show_number(rate)} {unit}/s"] if rate == rate else []  # not NaN
                shown.update(task, completed=done, text="  ".join(parts))

        yield show


def _is_seen():
    """Tell whether rich is installed, and the terminal or notebook can animate a bar."""
    if importlib.util.find_spec("rich") is None:
        return False
    console = optional_import("rich.console", "the progress bar").Console()
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal
