import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from prompts_store.cache import Cache, cache_folder, half_written
from tests.prompts_store.conftest import PROCESSES

DATA = bytes(range(256)) * 400
SHA = hashlib.sha256(DATA).hexdigest()


def test_round_trip() -> None:
    assert Cache("files").read(SHA) is None
    Cache("files").write(SHA, DATA)
    Cache("vectors").write(SHA, b"")
    assert Cache("files").read(SHA) == DATA
    assert Cache("vectors").read(SHA) == b""
    assert half_written() == []


@pytest.mark.parametrize("kept", [DATA, b"", b"short"])
def test_damaged_file_counts_as_none_and_goes(cache: Path, kept: bytes) -> None:
    Cache("files").write(SHA, DATA)
    (path,) = cache.glob("files/*/*")
    path.write_bytes(kept)
    assert Cache("files").read(SHA) is None
    assert not path.exists()
    Cache("files").write(SHA, DATA)
    assert Cache("files").read(SHA) == DATA


def test_folder_that_cannot_be_made_keeps_nothing(cache: Path) -> None:
    (cache / "files").write_text("")
    Cache("files").write(SHA, DATA)
    assert Cache("files").read(SHA) is None


@pytest.mark.parametrize("name", ["../../x", "", "A" * 64, f"{SHA}\n"])
def test_names_are_hashes(name: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        Cache("files").read(name)


def use(folder: str, failed: "multiprocessing.Queue[str]") -> None:
    os.environ["ORCHESTRATOR_CACHE"] = folder
    for _ in range(200):
        Cache("files").write(SHA, DATA)
        if Cache("files").read(SHA) != DATA:
            failed.put("a reader saw a file that was not whole")


@pytest.mark.timeout(60)
def test_several_processes_at_once(cache: Path) -> None:
    failed: multiprocessing.Queue[str] = PROCESSES.Queue()
    processes = [PROCESSES.Process(target=use, args=(str(cache), failed)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
        assert process.exitcode == 0
    assert failed.empty()
    assert [path.name for path in cache.glob("*/*/*")] == [SHA]


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ORCHESTRATOR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "orchestrator"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "orchestrator"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "orchestrator"
    monkeypatch.setenv("ORCHESTRATOR_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
