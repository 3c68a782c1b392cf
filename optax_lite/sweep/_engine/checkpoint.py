"""Save a sweep with Orbax, so that it can be resumed after a kill."""

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optax_lite._optional import optional_import
from optax_lite.core.config import is_key
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep._engine.lock import Lock

_SHARE = 20  # saves may take one part in so many of the time
_READ = 2**26  # bytes of the data that a digest reads, roughly
_DIGESTS = {
    "numbers": "its members had different numbers",
    "data": "it had different data",
    "params": "it had different initial params",
    "carry": "its carry had different shapes",
}


class _Damaged(Exception):
    """A save that cannot be read."""


class Checkpoint:
    """Keep the last saves of one sweep in a folder, with a fingerprint of the sweep.

    While it is open, no other sweep can use the folder. If a save fails, for example because the
    disk is full, it only warns: the sweep and its result are worth more.
    """

    def __init__(self, folder: str | Path, fingerprint: dict[str, Any]):
        self.ocp = optional_import(
            "orbax.checkpoint", "sweep.run(..., checkpoint=...)", "orbax-checkpoint"
        )
        self.folder = Path(folder).absolute()
        self.fingerprint = json.loads(json.dumps(fingerprint, default=str))
        if self.folder.exists() and not self.folder.is_dir():
            raise ArgumentError(f"checkpoint must be a folder, and {folder} is a file", "run")
        # one for all processes of a sweep
        self.lock = Lock(self.folder) if jax.process_index() == 0 else None
        try:
            self._check_contents()
            options = self.ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
            self.manager = self.ocp.CheckpointManager(self.folder, options=options)
        except BaseException:
            self._unlock()
            raise
        self.ended, self.took = time.perf_counter(), 0.0
        self.damaged: list[int] = []
        self.number = max(self.manager.all_steps(), default=-1) + 1

    def _check_contents(self) -> None:
        """Raise if the folder holds anything that a sweep would not save; look at names only."""
        if (self.folder / "_CHECKPOINT_METADATA").exists():
            raise ArgumentError(
                f"checkpoint {self.folder.name!r} is an Orbax checkpoint that was not saved by a "
                "sweep; choose another folder",
                "run",
            )
        for path in sorted(self.folder.iterdir()):
            if not (path.is_dir() and path.name.isdecimal()):
                continue
            inside = sorted(x.name for x in path.iterdir())
            if "arrays" not in inside and "meta" not in inside:
                holds = f"holds {', '.join(inside[:4])}" if inside else "is empty"
                raise ArgumentError(
                    f"checkpoint {self.folder.name!r} has a folder {path.name!r}, which {holds}, "
                    f"and is not a save of a sweep; remove {path}, or choose another folder",
                    "run",
                )

    def last(
        self, target_of: Callable[[dict[str, Any]], PyTree]
    ) -> tuple[dict[str, Any], PyTree] | None:
        """Return the last readable save: its metadata, and its arrays in the structure of
        `target_of`.

        Return None for an empty folder, and raise if the save belongs to another sweep. Skip
        damaged saves with a warning.
        """
        args, problems = self.ocp.args, []
        for number in sorted(self.manager.all_steps(), reverse=True):
            try:
                meta = self._read(number, meta=args.JsonRestore())
                self._check_fingerprint(meta["fingerprint"])
                arrays = self._read(number, arrays=args.StandardRestore(target_of(meta)))
            except _Damaged as error:
                problems.append(f"save {number} is damaged, {error}")
                self.damaged.append(number)
                continue
            for problem in problems:
                self._warn(f"{problem}; the sweep resumes from save {number}")
            return meta, arrays
        if problems:
            raise ArgumentError(
                f"checkpoint {self.folder.name!r}: {'; '.join(problems)}; remove the folder to "
                "start again, or choose another one",
                "run",
            )
        return None

    def _read(self, number: int, **item: Any) -> Any:
        (name,) = item
        try:
            return self.manager.restore(number, args=self.ocp.args.Composite(**item))[name]
        except Exception as error:  # Orbax has no class of its own for a file that is cut off
            raise _Damaged(
                f"its {name}: {type(error).__name__}: {' '.join(str(error).split()):.160}"
            ) from error

    def _check_fingerprint(self, saved: dict[str, Any]) -> None:
        other = [name for name, value in self.fingerprint.items() if saved.get(name) != value]
        if other:
            # Differences here imply differences in two digests, and tell a reader more.
            implied = ("numbers", "carry") if {"settings", "members"} & {*other} else ()
            told = "; ".join(
                _difference(name, saved.get(name), self.fingerprint[name])
                for name in other
                if name not in implied
            )
            raise ArgumentError(
                f"checkpoint {self.folder.name!r} belongs to another sweep: {told}; choose another "
                "folder",
                "run",
            )

    def is_due(self) -> bool:
        """Tell whether enough time has passed since the last save to afford another."""
        return time.perf_counter() - self.ended > _SHARE * self.took

    def save(self, arrays: PyTree, meta: dict[str, Any]) -> None:
        """Write a save; one that is interrupted does not count."""
        began, args = time.perf_counter(), self.ocp.args
        both = {
            "arrays": args.StandardSave(arrays),
            "meta": args.JsonSave(meta | {"fingerprint": self.fingerprint}),
        }
        try:
            while self.damaged:  # or else they would be kept, and the good ones not
                self.manager.delete(self.damaged.pop())
            self.manager.save(self.number, args=args.Composite(**both))
            self.manager.wait_until_finished()
        except Exception as error:
            self._warn(
                f"save {self.number} failed, and the sweep continues without it: "
                f"{type(error).__name__}: {error}"
            )
        self.number += 1
        self.ended = time.perf_counter()
        self.took = self.ended - began

    def close(self) -> None:
        """Wait for the last save and release the folder."""
        try:
            self.manager.close()
        except Exception as error:
            self._warn(f"closing it failed: {type(error).__name__}: {error}")
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def _warn(self, problem: str) -> None:
        warnings.warn(f"run: checkpoint {self.folder.name!r}: {problem:.400}", stacklevel=2)


def _difference(name: str, was: Any, now: Any) -> str:
    """Describe how an entry of two fingerprints differs; for arrays they hold only digests."""
    if name in _DIGESTS:
        return _DIGESTS[name]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        i = next(i for i, pair in enumerate(zip(was, now, strict=True)) if pair[0] != pair[1])
        name, was, now = f"{name}[{i}]", was[i], now[i]
    return f"{name} was {was!r:.80}, and is now {now!r:.80}"


def digest(tree: PyTree) -> str:
    """Hash arrays; of large ones, hash only some of the rows."""
    found = [
        jax.random.key_data(x) if is_key(x) else x if hasattr(x, "shape") else np.asarray(x)
        for x in jax.tree.leaves(tree)
    ]
    every, digested = sum(x.nbytes for x in found) // _READ + 1, hashlib.blake2b(digest_size=8)
    for x in found:
        digested.update(f"{x.dtype}{tuple(x.shape)}".encode())
        digested.update(np.asarray(x[::every] if x.ndim else x).tobytes())
    return digested.hexdigest()
