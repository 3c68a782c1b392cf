"""The folder of a sweep: one sweep at a time, no save lost to a damaged one, no result lost to a
save that fails.
"""

import json
import os
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest

from optax_lite.sweep._engine.checkpoint import Checkpoint
from optax_lite.sweep._engine.lock import Lock, _started

ZEROS = {"x": np.zeros(3)}


def saved(folder, *values):
    """A folder with a save for each value."""
    checkpoint = Checkpoint(folder, {"of": "this sweep"})
    for value in values:
        checkpoint.save({"x": np.full(3, float(value))}, {"value": value})
    checkpoint.close()
    return folder


def last(folder):
    """What the last save is, as a sweep reads it, and the warnings."""
    checkpoint = Checkpoint(folder, {"of": "this sweep"})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            meta, arrays = checkpoint.last(lambda meta: ZEROS)
        finally:
            checkpoint.close()
    assert (arrays["x"] == meta["value"]).all()
    return meta["value"], [str(x.message) for x in told if "checkpoint" in str(x.message)]


def cut(folder, *names):
    """What a disk leaves that was full: half of the files below those of a name."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(name in path.parts for name in names)
    ]
    assert found
    for path in found:
        os.truncate(path, path.stat().st_size // 2)


# --- the lock -------------------------------------------------------------------------------------


def test_of_two_sweeps_in_one_folder_the_second_is_told_who_is_at_work(tmp_path):
    checkpoint = Checkpoint(tmp_path / "mine", {})
    who = rf"another thread of this process \(process {os.getpid()} on {socket.gethostname()}\)"
    with pytest.raises(
        ValueError,
        match=f"^run: a sweep is at work in checkpoint 'mine': {who}; wait until it ends",
    ):
        Checkpoint(tmp_path / "mine", {})
    checkpoint.close()
    Checkpoint(tmp_path / "mine", {}).close()
    assert os.listdir(tmp_path / "mine") == []


def lock_of(folder, **owner):
    (folder / ".sweep-lock").write_text(
        json.dumps({"host": socket.gethostname(), "id": "of another", **owner})
    )


@pytest.mark.skipif(sys.platform != "linux", reason="says when a process started")
def test_the_lock_of_a_process_that_is_gone_is_taken_over(tmp_path):
    with subprocess.Popen(["true"]) as process:
        pass
    gone = {"pid": process.pid, "started": "long ago"}
    for owner in (gone, {"pid": os.getpid(), "started": "before the container was started again"}):
        lock_of(tmp_path, **owner)
        Lock(tmp_path).release()
        assert os.listdir(tmp_path) == []
    there = {"pid": os.getppid(), "started": _started(os.getppid())}
    elsewhere = gone | {"host": "another-host"}
    for owner, who in (
        (there, f"process {os.getppid()} on "),
        (elsewhere, f"process {process.pid} on another-host"),
    ):
        lock_of(tmp_path, **owner)
        with pytest.raises(
            ValueError,
            match=f"is at work in .*: {who}.* If it has already ended, remove .*/.sweep-lock",
        ):
            Lock(tmp_path)
    (tmp_path / ".sweep-lock").write_text("")
    with pytest.raises(
        ValueError, match=r"is at work in .*: an unknown process; wait until it ends"
    ):
        Lock(tmp_path)


# --- damaged and foreign folders ------------------------------------------------------------------


@pytest.mark.parametrize("what", ["meta", "arrays"])
def test_a_damaged_save_falls_back_to_the_one_before(what, tmp_path):
    folder = saved(tmp_path / "mine", 1, 2)
    cut(folder / "1", what)
    value, (told,) = last(folder)
    assert value == 1
    assert told.startswith(f"run: checkpoint 'mine': save 1 is damaged, its {what}: ")
    assert told.endswith("; the sweep resumes from save 0")


def test_the_next_save_keeps_the_good_one_and_not_the_damaged_one(tmp_path):
    folder = saved(tmp_path / "mine", 1, 2)
    cut(folder / "1", "meta")
    checkpoint = Checkpoint(folder, {"of": "this sweep"})
    with pytest.warns(UserWarning, match="save 1 is damaged"):
        checkpoint.last(lambda meta: ZEROS)
    checkpoint.save({"x": np.full(3, 3.0)}, {"value": 3})
    checkpoint.close()
    assert sorted(os.listdir(folder)) == ["0", "2"] and last(folder) == (3, [])


def test_where_every_save_is_damaged_nothing_is_begun_over_it(tmp_path):
    folder = saved(tmp_path / "mine", 1, 2)
    cut(folder, "meta")
    with pytest.raises(
        ValueError, match=r"^run: checkpoint 'mine': save 1 is damaged, its meta.*save 0 is damaged"
    ):
        last(folder)
    assert sorted(os.listdir(folder)) == ["0", "1"]


def test_a_folder_of_something_else_is_refused_by_name(tmp_path):
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "managed") as manager:
        manager.save(0, args=ocp.args.StandardSave({"a": np.ones(3)}))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "one", {"a": np.ones(3)})
    (tmp_path / "numbered" / "3").mkdir(parents=True)
    told = {
        "managed": (
            "has a folder '0', which holds _CHECKPOINT_METADATA, .*default, and is not a save "
            "of a sweep; remove .*/0, or"
        ),
        "one": "is an Orbax checkpoint that was not saved by a sweep; choose another folder",
        "numbered": (
            "has a folder '3', which is empty, and is not a save of a sweep; "
            "remove .*/numbered/3, or choose another"
        ),
    }
    for name, problem in told.items():
        before = sorted(os.listdir(tmp_path / name))
        with pytest.raises(ValueError, match=f"^run: checkpoint {name!r} {problem}"):
            Checkpoint(tmp_path / name, {})
        assert sorted(os.listdir(tmp_path / name)) == before


# --- a save that fails ----------------------------------------------------------------------------


def test_a_save_that_fails_is_told_and_the_next_one_is_made(tmp_path, monkeypatch):
    folder = saved(tmp_path / "mine", 1)
    checkpoint = Checkpoint(folder, {"of": "this sweep"})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with (
        monkeypatch.context() as broken,
        pytest.warns(UserWarning, match="save 1 failed, and the sweep continues wi"),
    ):
        broken.setattr(checkpoint.manager, "save", full)
        checkpoint.save({"x": np.full(3, 2.0)}, {"value": 2})
    checkpoint.save({"x": np.full(3, 3.0)}, {"value": 3})
    checkpoint.close()
    assert last(folder) == (3, [])
