"""A sweep on disk, so that one that was killed goes on; Orbax writes it."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.check import ArgumentError
from optax_lite.data import is_key
from optax_lite.loop.extras import extra

_SHARE = 20  # a save may cost one part in so many of the time
_READ = 2**26  # bytes of arrays that are looked at to tell them from others


class Checkpoint:
    """The last saves of one sweep in a folder, with what it is a sweep of."""

    def __init__(self, folder: str | Path, fingerprint: dict[str, Any]):
        self.ocp = extra("orbax.checkpoint", "sweep.run(..., checkpoint=...)", "sweep")
        self.folder, self.fingerprint = Path(folder).absolute(), json.loads(json.dumps(fingerprint, default=str))
        if self.folder.exists() and not self.folder.is_dir():
            raise ArgumentError(f"checkpoint must be a folder, and {folder} is a file", "run")
        options = self.ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        self.manager = self.ocp.CheckpointManager(self.folder, options=options)
        self.ended, self.took, self.number = time.perf_counter(), 0.0, 0

    def exists(self) -> bool:
        """Whether something was saved; an error if it is of another sweep."""
        last = self.manager.latest_step()
        if last is None:
            return False
        self.number = last + 1
        saved = self.read()["fingerprint"]
        other = [name for name, value in self.fingerprint.items() if saved.get(name) != value]
        if other:
            told = ", ".join(f"{name} was {saved.get(name)!r:.80}" for name in other)
            raise ArgumentError(
                f"checkpoint {self.folder.name!r} is of another sweep: {told}; take another folder", "run"
            )
        return True

    def is_due(self) -> bool:
        """Whether enough time has passed since the last save to afford one."""
        return time.perf_counter() - self.ended > _SHARE * self.took

    def save(self, arrays: PyTree, meta: dict[str, Any]) -> None:
        """Write all of it; a save that is cut off does not count."""
        began, args = time.perf_counter(), self.ocp.args
        both = {"arrays": args.StandardSave(arrays), "meta": args.JsonSave(meta | {"fingerprint": self.fingerprint})}
        self.manager.save(self.number, args=args.Composite(**both))
        self.manager.wait_until_finished()
        self.number += 1
        self.ended = time.perf_counter()
        self.took = self.ended - began

    def read(self) -> dict[str, Any]:
        """What was saved besides arrays."""
        args = self.ocp.args
        return self.manager.restore(self.manager.latest_step(), args=args.Composite(meta=args.JsonRestore()))["meta"]

    def load(self, target: PyTree) -> PyTree:
        """The arrays, as those of `target` are: of numpy, or of a shape and on the devices that it names."""
        args, step = self.ocp.args, self.manager.latest_step()
        return self.manager.restore(step, args=args.Composite(arrays=args.StandardRestore(target)))["arrays"]

    def close(self) -> None:
        """Wait for the last save and let go of the folder."""
        self.manager.close()


def digest(tree: PyTree) -> str:
    """A hash of arrays; of large ones, of some of their rows."""
    found = [
        jax.random.key_data(x) if is_key(x) else x if hasattr(x, "shape") else np.asarray(x)
        for x in jax.tree.leaves(tree)
    ]
    every, digested = sum(x.nbytes for x in found) // _READ + 1, hashlib.blake2b(digest_size=8)
    for x in found:
        digested.update(f"{x.dtype}{tuple(x.shape)}".encode())
        digested.update(np.asarray(x[::every] if x.ndim else x).tobytes())
    return digested.hexdigest()
