"""Ctrl-C as a request that a loop serves between two steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def until_interrupted() -> Iterator[list]:
    """Yield a list that is not empty after the first Ctrl-C; the second one is a KeyboardInterrupt
    as always.

    An exception between a step and the assignment of its result would lose the params, whose memory
    is given away.
    """
    asked: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (
        None,
        signal.SIG_IGN,
    ):
        yield asked
        return

    def on_first(*_):
        asked.append(True)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_first)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
