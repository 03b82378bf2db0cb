import hashlib
import multiprocessing
import os
from pathlib import Path

import pytest

from prompts_store.cache import Cache, cache_folder

DATA = bytes(range(256)) * 400
SHA = hashlib.sha256(DATA).hexdigest()


def test_round_trip(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new")
    assert cache.read(SHA) is None
    cache.write(DATA)
    assert Cache(tmp_path / "new").read(SHA) == DATA
    assert cache.halves() == []


def test_damaged_file_counts_as_none_and_goes(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write(DATA)
    (path,) = tmp_path.glob("*/*")
    path.write_bytes(DATA[:-1])
    assert cache.read(SHA) is None
    assert not path.exists()
    cache.write(DATA)
    assert cache.read(SHA) == DATA


def test_folder_that_cannot_be_made_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    cache.write(DATA)
    assert cache.read(SHA) is None


@pytest.mark.parametrize("name", ["../../x", "", "A" * 64, f"{SHA}\n"])
def test_names_are_hashes(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        Cache(tmp_path).read(name)


def use(folder: Path, failed: "multiprocessing.Queue[str]") -> None:
    cache = Cache(folder)
    for _ in range(200):
        cache.write(DATA)
        if cache.read(SHA) != DATA:
            failed.put("a reader saw a file that was not whole")


@pytest.mark.timeout(60)
def test_several_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    failed: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=use, args=(tmp_path, failed)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
        assert process.exitcode == 0
    assert failed.empty()
    assert [path.name for path in tmp_path.glob("*/*")] == [SHA]


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
    assert cache_folder() == Path(os.environ["HOME"], "mine")
