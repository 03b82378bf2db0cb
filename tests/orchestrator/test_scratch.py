"""Temporary folders are gone when their owner is, however it ends."""

import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from orchestrator.scratch import scratch_folder
from tests.prompts_store.conftest import PROCESSES

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(temporary: str, there: Connection) -> None:
    tempfile.tempdir = temporary
    with scratch_folder("ours-") as folder:
        (folder / "file").touch()
        there.send(str(folder))
        time.sleep(60)


def age(folder: Path) -> None:
    os.utime(folder, (time.time() - 3600,) * 2)


def test_what_a_killed_process_left_is_removed_by_the_next(temporary: Path) -> None:
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=hold, args=(str(temporary), there))
    process.start()
    held = Path(here.recv())
    age(held)
    other = temporary / "theirs-1"
    other.mkdir()
    age(other)
    with scratch_folder("ours-") as folder:
        assert set(temporary.glob("ours-*")) == {held, folder}, "it is in use"
    process.kill()
    process.join()
    with scratch_folder("ours-") as folder:
        assert set(temporary.glob("ours-*")) == {folder}
    assert set(temporary.glob("*s-*")) == {other}


def test_one_just_made_is_left_alone_and_an_error_leaves_nothing(temporary: Path) -> None:
    (temporary / "ours-1").mkdir()
    with pytest.raises(ZeroDivisionError), scratch_folder("ours-") as folder:
        (folder / "file").write_text(str(1 / 0))
    assert [path.name for path in temporary.iterdir()] == ["ours-1"]
