"""Lock a folder, so that one sweep at a time uses it."""

import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

from optax_lite.core.validate import ArgumentError


class Lock:
    """A lock file that names the sweep using a folder. If its process ran on this host and has
    ended, the lock is taken over.
    """

    def __init__(self, folder: Path):
        self.file = folder / ".sweep-lock"
        pid = os.getpid()
        self.own = {
            "host": socket.gethostname(),
            "pid": pid,
            "started": _started(pid),
            "id": uuid.uuid4().hex,
        }
        folder.mkdir(parents=True, exist_ok=True)
        while not self._taken():
            other = self._holder()
            if other is None:
                continue  # it was released meanwhile
            if not self._has_ended(other):
                raise ArgumentError(
                    f"a sweep is at work in checkpoint {folder.name!r}: {self._told(other)}", "run"
                )
            self._clear(other)

    def release(self) -> None:
        """Release the folder."""
        if self._holder() == self.own:
            self.file.unlink(missing_ok=True)

    def _taken(self) -> bool:
        # Written aside and linked, so that nobody reads a half of it.
        written = self.file.with_name(f"{self.file.name}-{self.own['id']}")
        written.write_text(json.dumps(self.own))
        try:
            os.link(written, self.file)
            return True
        except FileExistsError:
            return False
        finally:
            written.unlink()

    def _holder(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.file.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}  # not one of ours, so nothing is known of its owner

    def _has_ended(self, other: dict[str, Any]) -> bool:
        """Tell whether the process that made a lock is known to have ended; its pid may have been
        reused.
        """
        if other.get("host") != self.own["host"] or os.name != "posix":
            return False
        try:
            os.kill(other["pid"], 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and somebody else's
        return other["started"] != _started(other["pid"])

    def _clear(self, other: dict[str, Any]) -> None:
        """Remove the lock of a process that is gone, unless it was replaced in the meantime."""
        aside = self.file.with_name(f"{self.file.name}-{self.own['id']}")
        try:
            self.file.rename(aside)
        except FileNotFoundError:
            return
        if json.loads(aside.read_text()) != other:
            os.link(aside, self.file)
        aside.unlink()

    def _told(self, other: dict[str, Any]) -> str:
        who = (
            f"process {other['pid']} on {other['host']}" if "pid" in other else "an unknown process"
        )
        here = other.get("host") == self.own["host"] and other.get("pid") == self.own["pid"]
        which = f"another thread of this process ({who})" if here else who
        return (
            f"{which}; wait until it ends, or choose another folder. If it has already ended, "
            f"remove {self.file}"
        )


def _started(pid: int) -> str | None:
    """Return when a process started, or None if unknown. Pids are reused, especially after a
    reboot.
    """
    try:
        stat, boot = (
            Path(f"/proc/{pid}/stat").read_text(),
            Path("/proc/sys/kernel/random/boot_id").read_text(),
        )
    except OSError:
        return None
    return f"{boot.strip()} {stat.rpartition(')')[2].split()[19]}"
