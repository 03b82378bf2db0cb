"""Recording while the store is away: nothing is lost, nothing written twice, and nobody waits in vain."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from orchestrator.letters import Letter, deliver, send
from orchestrator.openings import KEY, Opening, open_run
from orchestrator.outbox import Outbox
from orchestrator.patience import is_temporary, patiently
from orchestrator.recorder import Recorder
from orchestrator.resumed import CONFIG, OUTCOME, PARENT
from orchestrator.spool import Spool
from prompts_store import PromptStore, StoreError
from tests.bench import load
from tests.prompts_store.conftest import PROCESSES
from tests.prompts_store.conftest import cache as cache
from tests.servers import Server, serving

pytestmark = pytest.mark.timeout(120)


def record(store: PromptStore, name: str, steps: int, pause: float = 0.0) -> list[str]:
    """Record two configurations of so many steps; returns their runs."""
    recorder = Recorder(store, "load", name=name, kind="test", params={"a": 1}, tags={})
    with recorder:
        for config in range(2):
            recorder.start(config, f"{name}/{config}", {"config": config}, {})
            for step in range(steps):
                recorder.metrics(config, step, {"loss": step / 7, "score": step / 3})
                time.sleep(pause)
            recorder.finish(config, "finished")
    return [recorder.run_id(config) for config in range(2)]


def check(store: PromptStore, run_id: str, steps: int) -> None:
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "config" in run.data.params
    for key, by in (("loss", 7), ("score", 3)):
        history = store.client.get_metric_history(run_id, key)
        assert [(p.step, p.value) for p in sorted(history, key=lambda p: p.step)] == [(n, n / by) for n in range(steps)]


def test_a_database_locked_for_longer_than_mlflow_waits(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PromptStore(tracking_uri)
    recorder = Recorder(store, "locked", name="x", kind="test", params={}, tags={})
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(tracking_uri.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            release.wait(60)
            other.execute("ROLLBACK")

    with recorder:
        recorder.start(0, "0", {"config": 0}, {})
        recorder.heartbeat._end.set()
        other = threading.Thread(target=lock)
        other.start()
        assert locked.wait(30)
        threading.Timer(23.0, release.set).start()  # MLflow gives up after 20 s
        began = time.monotonic()
        recorder.start(1, "1", {"config": 1}, {})
        for config in range(2):
            for step in range(5):
                recorder.metrics(config, step, {"loss": step / 7, "score": step / 3})
        assert time.monotonic() - began < 1  # whoever records is not held up
        for config in range(2):
            recorder.finish(config, "finished")
    other.join()
    for config in range(2):
        check(store, recorder.run_id(config), 5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    with serving(folder) as there:
        yield there


@pytest.mark.slow
def test_a_server_killed_and_started_again(server: Server) -> None:
    store = PromptStore(server.uri)

    def away() -> None:
        time.sleep(0.3)
        server.kill()
        time.sleep(3)
        server.start()

    outage = threading.Thread(target=away)
    outage.start()
    runs = record(store, "outage", 40, pause=0.02)
    outage.join()
    for run_id in runs:
        check(store, run_id, 40)
    experiment = store.ensure_experiment("load")
    assert len(store.client.search_runs([experiment])) == 3


def record_while_the_server_dies(uri: str, there: Connection) -> None:
    """Record one configuration to its end, half of another and a third that begins while the store is away; wait."""
    recorder = Recorder(PromptStore(uri), "spool", name="spool", kind="test", params={"a": 1}, tags={})
    with recorder:
        for config in range(2):
            recorder.start(config, str(config), {"config": config}, {})
            recorder.metrics(config, 0, {"loss": 0.0, "score": 0.0})
        while recorder._outbox._letters or recorder._outbox._busy:
            time.sleep(0.01)
        there.send((recorder.parent, [recorder.run_id(config) for config in range(2)]))
        assert there.recv() == "the server is gone"
        recorder.start(2, "2", {"config": 2}, {})
        recorder.metrics(2, 0, {"loss": 2.0})
        for step in range(1, 6):
            for config in range(2):
                recorder.metrics(config, step, {"loss": step / 7, "score": step / 3})
        recorder.finish(0, "finished", outcome={"slots": {}})
        recorder.attach(1, "note.txt", "still at work")
        there.send("to be killed")
        time.sleep(60)


def of_configuration(client: MlflowClient, parent: str, config: int) -> list[Run]:
    condition = f"tags.`{PARENT}` = '{parent}' and tags.`{CONFIG}` = '{config}'"
    return list(client.search_runs([client.get_run(parent).info.experiment_id], condition))


@pytest.mark.slow
def test_what_a_killed_command_had_not_sent_is_sent_once(server: Server, cache: Path) -> None:
    """The server is away, the command is killed, the server comes back: nothing is lost, nothing there twice."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=record_while_the_server_dies, args=(server.uri, there))
    process.start()
    parent, (ended, under_way) = here.recv()
    assert (cache / "spool" / f"{parent}.jsonl").read_text() == ""  # all is sent
    server.kill()
    here.send("the server is gone")
    assert here.recv() == "to be killed"
    process.kill()
    process.join()
    server.start()
    client = PromptStore(server.uri).client
    assert client.get_run(ended).info.status == "RUNNING"
    assert len(client.get_metric_history(ended, "loss")) == 1

    left = (cache / "spool" / f"{parent}.jsonl").read_text()
    assert deliver(client, parent) == 3
    check(PromptStore(server.uri), ended, 6)
    assert json.loads(client.get_run(ended).data.tags[OUTCOME]) == {"slots": {}}
    assert [client.get_run(run).info.status for run in (under_way, parent)] == ["RUNNING", "RUNNING"]
    assert [(p.step, p.value) for p in client.get_metric_history(under_way, "loss")] == [(n, n / 7) for n in range(6)]
    assert client.list_artifacts(under_way)[0].path == "note.txt"
    (begun,) = of_configuration(client, parent, 2)
    assert (begun.info.status, begun.data.params, begun.data.metrics) == ("RUNNING", {"config": "2"}, {"loss": 2.0})
    assert begun.data.tags[KEY] == f"{parent}/2", "whoever makes this configuration's run"
    assert begun.info.start_time <= client.get_run(ended).info.end_time
    assert deliver(client, parent) == 0

    (cache / "spool" / f"{parent}.jsonl").write_text(left)  # an old copy, as on another machine
    client.set_tag(under_way, "note", "taken up elsewhere meanwhile")
    assert deliver(client, parent) == 2
    assert len(of_configuration(client, parent, 2)) == 1
    assert len(client.get_metric_history(under_way, "loss")) == 6
    assert client.get_run(under_way).data.tags["note"] == "taken up elsewhere meanwhile"


@pytest.mark.slow
def test_many_processes_record_through_a_server(server: Server) -> None:
    runs = load.at_once(load.record, server.uri, 8, 5)
    assert load.lost_metrics(server.uri, runs, 5) == 0
    assert load.lost_metrics(server.uri, runs, 6) == 16, "the count sees what is missing"


def test_a_letter_is_read_as_it_was_written() -> None:
    metrics = [Metric("loss", value, 17, 3) for value in (0.1 + 0.2, float("nan"), float("inf"))]
    opening = Opening("r", "7", "name", {"a": "b"}, 16)
    letter = Letter("r", {"p": "1"}, metrics, {"t": "two\nlines \ud800"}, {"x.txt": "é\n"}, ("FINISHED", 18), opening)
    line = letter.dump()
    assert "\n" not in line
    assert Letter.parse(line).dump() == line
    assert (Letter.parse(line).end, Letter.parse(line).opening) == (("FINISHED", 18), opening)


def test_a_run_is_made_once_though_the_answer_is_lost(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PromptStore(tracking_uri)
    experiment = store.ensure_experiment("x")
    create, answers = store.client.create_run, iter([requests.ConnectionError("reset"), None])

    def unreliable(*arguments: object) -> Run:
        made = create(*arguments)
        if error := next(answers):
            raise error
        return made

    monkeypatch.setattr(store.client, "create_run", unreliable)
    run_id = open_run(store.client, Opening("k", experiment, "name", {"a": "b"}, 1000))
    (run,) = store.client.search_runs([experiment])
    assert (run.info.run_id, run.info.run_name, run.info.start_time) == (run_id, "name", 1000)
    assert next(answers, "unasked") is None, "the second try found it"


def test_a_run_that_cannot_be_made_keeps_nothing_else_back(tracking_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    spool = Spool(run_id)
    spool.keep(Letter("k", {"p": "1"}, opening=Opening("k", "4711", "name", {}, 1000)).dump())
    spool.keep(Letter(run_id, {"p": "1"}).dump().replace(', "opening": null', ""))  # as older versions wrote
    assert deliver(store.client, run_id) == 1
    assert store.client.get_run(run_id).data.params == {"p": "1"}
    assert "No Experiment with id=4711 exists" in caplog.text
    assert not spool.path.exists()


def test_a_damaged_spool_gives_what_is_whole(tracking_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    spool = Spool(run_id)
    for line in ("[1, 2]", Letter(run_id, {"p": "1"}).dump(), "{", Letter("0" * 32, {"p": "1"}).dump()):
        spool.keep(line)
    with spool.path.open("a") as file:
        file.write(Letter(run_id, tags={"half": "written"}).dump()[:-5])
    assert spool.path.stat().st_mode & 0o777 == 0o600
    assert deliver(store.client, run_id) == 1
    assert store.client.get_run(run_id).data.params == {"p": "1"}
    assert "half" not in store.client.get_run(run_id).data.tags
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"{spool.path} is damaged",
        f"{spool.path} is damaged",
        "the MLflow store refused a write",
    ]
    assert not spool.path.exists()


def test_a_disk_without_room_for_the_spool_costs_a_warning(
    tracking_uri: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cache / "spool").write_text("in the way")
    check(PromptStore(tracking_uri), record(PromptStore(tracking_uri), "x", 3)[0], 3)
    assert [r.getMessage().partition(" ")[0] for r in caplog.records if "safe from a kill" in r.getMessage()] == [
        "cannot"
    ]


def test_what_gathers_while_the_store_is_away_goes_out_together(tracking_uri: str) -> None:
    """More than MLflow takes in one call."""
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    letter = Letter(run_id, {f"p{n}": "1" for n in range(150)})
    for step in range(1500):
        letter.add(Letter(run_id, metrics=[Metric("loss", step / 7, 17, step)], tags={f"t{step % 150}": "x"}))
    send(store.client, letter)
    assert [p.value for p in store.client.get_metric_history(run_id, "loss")] == [n / 7 for n in range(1500)]
    assert len(store.client.get_run(run_id).data.params) == 150


def test_many_recorders_at_once_lose_nothing(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    store.ensure_experiment("load")
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda n: record(store, str(n), 5), range(8)))
    for run_id in (run_id for pair in runs for run_id in pair):
        check(store, run_id, 5)


def test_a_letter_sent_twice_is_there_once(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    for _ in range(2):
        outbox = Outbox(store.client, Spool(run_id))
        outbox.post(Letter(run_id, {"p": "1"}, [Metric("a", 0.5, 17, 3)], {"t": "x"}, {}, ("FINISHED", 18)))
        outbox.close()
    assert len(store.client.get_metric_history(run_id, "a")) == 1
    assert store.client.get_run(run_id).info.end_time == 18


def test_what_is_not_temporary_fails_at_once_with_the_reason(tracking_uri: str) -> None:
    outbox = Outbox(PromptStore(tracking_uri).client, Spool("0" * 32))
    outbox.post(Letter("0" * 32, tags={"a": "b"}))
    with pytest.raises(StoreError, match=r"refused a write: Run with id=0+ not found"):
        outbox.close()
    with pytest.raises(StoreError, match="refused a write"):
        outbox.post(Letter("0" * 32))


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (requests.ConnectionError("refused"), True),
        (requests.Timeout("slow"), True),
        (MlflowException("database is locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("database or disk is full", TEMPORARILY_UNAVAILABLE), False),
        (MlflowException("wrong", INVALID_PARAMETER_VALUE), False),
        (MlflowException("QueuePool limit of size 5 overflow 10 reached, connection timed out", BAD_REQUEST), True),
        (ValueError("a fault of ours"), False),
    ],
)
def test_which_errors_are_waited_for(error: Exception, temporary: bool) -> None:
    assert is_temporary(error) is temporary
    calls = 0

    def call() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return calls

    if temporary:
        assert patiently(call) == 2
    else:
        with pytest.raises(type(error)):
            patiently(call)
        assert calls == 1
