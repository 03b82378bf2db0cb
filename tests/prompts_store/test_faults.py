"""Real faults of a store: no room for an artifact, a locked database, many writers at once."""

import resource
import signal
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from prompts_store import PromptStore, StoreError
from prompts_store.checking import verify
from prompts_store.cleaning import collect
from tests.prompts_store.conftest import PROCESSES, make_artifact

NewRun = Callable[[], str]


def database(store: PromptStore) -> Path:
    return Path(store.tracking_uri.removeprefix("sqlite:///"))


def put_without_room(uri: str, run_id: str, temporary: str, there: Connection) -> None:
    """Store a prompt of 2.4 MB where no file may grow beyond the database and a little: what a full disk does."""
    torch.set_num_threads(1)
    tempfile.tempdir = temporary
    store = PromptStore(uri)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a full disk
    limit = database(store).stat().st_size + 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        store.put(make_artifact(1, d=1024, m=600), run_id=run_id)
    except StoreError as error:
        there.send(str(error))
    else:
        there.send("stored")


@pytest.mark.timeout(120)
def test_no_room_for_an_artifact(store: PromptStore, new_run: NewRun, tmp_path: Path) -> None:
    kept = store.put(make_artifact(), run_id=new_run())
    run_id, (here, there) = new_run(), PROCESSES.Pipe()
    process = PROCESSES.Process(target=put_without_room, args=(store.tracking_uri, run_id, str(tmp_path), there))
    process.start()
    assert here.poll(60)
    message = here.recv()
    process.join(20)
    assert "Cannot save an artifact" in message or "refused" in message
    assert "File too large" in message
    assert [prompt.ref for prompt in store.list()] == [kept.ref]
    assert [checked.problem for checked in verify(store)] == [None]
    collect(store, grace=0)
    big = store.put(make_artifact(1, d=1024, m=600), run_id=run_id)  # there is room again
    assert [prompt.ref for prompt in store.list()] == [kept.ref, big.ref]
    assert [checked.problem for checked in verify(store)] == [None, None]


@pytest.mark.timeout(120)
def test_another_writer_holds_the_database_for_a_while(store: PromptStore, new_run: NewRun) -> None:
    run_id = new_run()
    connection = sqlite3.connect(database(store), isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(2.0, lambda: connection.execute("COMMIT"))
    timer.start()
    stored = store.put(make_artifact(), run_id=run_id)
    timer.join()
    connection.close()
    assert [prompt.ref for prompt in store.list()] == [stored.ref]
    assert store.get(stored.ref).card.run_id == run_id


def put_and_list(uri: str, run_id: str, temporary: str, writer: int, there: Connection) -> None:
    torch.set_num_threads(1)
    tempfile.tempdir = temporary
    store = PromptStore(uri)
    try:
        stored = store.put(make_artifact(writer, dev_score=writer / 100), run_id=run_id)
        there.send(stored.ref if stored.ref in {prompt.ref for prompt in store.list()} else "not listed")
    except StoreError as error:
        there.send(f"error: {error}")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_many_store_at_once(store: PromptStore, new_run: NewRun, tmp_path: Path) -> None:
    """Eight processes store the same task: as many versions, all whole, one best."""
    refs = at_once(store, [new_run() for _ in range(8)], tmp_path)
    assert sorted(refs) == [f"dept-minilm-mnli/{version}" for version in range(1, 9)]
    assert [checked.problem for checked in verify(store)] == [None] * 8
    best = [prompt for prompt in store.list() if "best" in prompt.aliases]
    assert [prompt.dev_score for prompt in best] == [0.07]


def at_once(store: PromptStore, run_ids: list[str], temporary: Path) -> list[str]:
    """Store a prompt for each run, each from a process of its own; returns what each was told."""
    here, there = PROCESSES.Pipe()
    processes = [
        PROCESSES.Process(target=put_and_list, args=(store.tracking_uri, run_id, str(temporary), writer, there))
        for writer, run_id in enumerate(run_ids)
    ]
    for process in processes:
        process.start()
    try:
        return [here.recv() if here.poll(150) else "nothing" for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()
