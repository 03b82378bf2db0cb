"""How a cluster is cut into workers, and what is said where there is none."""

import socket
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import nodes
from orchestrator.cluster import (
    IDLE_SHARE,
    PACKAGES,
    Room,
    Workers,
    check_joinable,
    check_reachable,
    connect,
    our_code,
    share,
)
from orchestrator.errors import RunFailedError, UsageError

ROOMS = st.lists(st.builds(Room, cpus=st.integers(0, 128), gpus=st.just(0)), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([2], (1, 2)),
        ([6], (1, 6)),
        ([15], (3, 5)),
        ([2, 2], (2, 2)),
        ([0, 8], (2, 4)),
        ([2, 16], (9, 2)),
        ([2, 64], (16, 4)),
        ([1, 1, 1], (3, 1)),
    ],
)
def test_cpus_are_shared_node_by_node(cpus: list[int], expected: tuple[int, int]) -> None:
    assert share([Room(n, 0) for n in cpus], None) == Workers(*expected, gpus=0)


@given(ROOMS.filter(lambda rooms: any(room.cpus for room in rooms)))
def test_every_worker_has_a_node_to_run_on(rooms: list[Room]) -> None:
    found = share(rooms, None)
    assert found.count == sum(room.cpus // found.threads for room in rooms) > 0
    idle = sum(room.cpus for room in rooms) - found.count * found.threads
    smallest = min(room.cpus // max(1, room.cpus // 4) for room in rooms if room.cpus)
    least = sum(room.cpus % smallest for room in rooms)
    assert idle <= max(IDLE_SHARE * sum(room.cpus for room in rooms), least)


@given(ROOMS.filter(lambda rooms: any(room.cpus for room in rooms)), st.integers(1, 20))
def test_as_many_workers_as_asked_for_run_at_once_where_they_fit(rooms: list[Room], workers: int) -> None:
    found = share(rooms, workers)
    assert found.count == workers
    if workers <= sum(room.cpus for room in rooms):
        assert sum(room.cpus // found.threads for room in rooms) >= workers
        assert sum(room.cpus // (found.threads + 1) for room in rooms) < workers


@pytest.mark.parametrize(
    ("rooms", "workers", "expected"),
    [
        ([Room(16, 2), Room(4, 1), Room(64, 0)], None, Workers(3, 4, 1)),
        ([Room(8, 2)], 4, Workers(4, 2, 0.5)),
        ([Room(64, 8)], 2, Workers(2, 8, 1)),
    ],
)
def test_a_worker_has_one_gpu_at_most(rooms: list[Room], workers: int | None, expected: Workers) -> None:
    assert share(rooms, workers) == expected


@pytest.mark.parametrize(
    ("rooms", "workers", "expected"),
    [
        ([Room(2, 0)], None, Workers(1, 1, 0, parallel=2)),
        ([Room(1, 0), Room(1, 0)], None, Workers(1, 1, 0, parallel=2)),
        ([Room(16, 0)], None, Workers(2, 4, 0, parallel=2)),
        ([Room(16, 0)], 1, Workers(1, 8, 0, parallel=2)),
        ([Room(8, 2), Room(4, 1)], None, Workers(1, 4, 1, parallel=2)),
        ([Room(8, 1)], None, Workers(1, 4, 0.5, parallel=2)),
    ],
)
def test_groups_of_workers(rooms: list[Room], workers: int | None, expected: Workers) -> None:
    assert share(rooms, workers, parallel=2) == expected


def test_no_room_for_a_group_is_said() -> None:
    with pytest.raises(UsageError, match=r"no room for --parallel 4: .* 2 nodes have room for 3 such workers"):
        share([Room(2, 0), Room(1, 0)], None, parallel=4)


def test_an_address_for_nodes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "node_here", lambda address: False)
    with pytest.raises(UsageError, match=r"no.* runs here: give the head's client server, ray://head:10001"):
        check_joinable("head:6379")
    check_joinable("ray://head:10001")
    monkeypatch.setattr(nodes, "node_here", lambda address: True)
    check_joinable("head:6379")


def test_a_node_is_one_of_that_cluster_whose_socket_is_here(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as short:
        place = Path(short, "raylet")
        listener.bind(str(place))
        raylet = ["raylet", f"--raylet_socket_name={place}", "--gcs-address=10.0.0.1:6379", "--head"]
        assert nodes.joins(raylet, "10.0.0.1:6379")
        assert nodes.joins(raylet, "localhost:6379")  # said on the head
        assert not nodes.joins(raylet, "10.0.0.2:6379")
        assert not nodes.joins(raylet, "10.0.0.1:6380")
        assert not nodes.joins(["raylet", f"--raylet_socket_name={tmp_path}", *raylet[2:]], "10.0.0.1:6379")


def test_no_room_is_said() -> None:
    with pytest.raises(UsageError, match="none of the 1 nodes has a CPU"):
        share([Room(0, 0)], None)


def test_nothing_that_listens_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(UsageError, match="nothing listens at"):
            check_reachable(address)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["here", "ray://host", ":6379", "host:port", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="must be auto, HOST:PORT or ray://HOST:PORT"):
        check_reachable(address)


def test_the_code_that_travels_is_our_packages_and_nothing_else() -> None:
    assert [folder.rsplit("/", 1)[1] for folder in our_code()] == list(PACKAGES)


@pytest.mark.parametrize("found", ["5.0.1", None])
def test_a_node_with_another_version_is_named(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    here = nodes.versions()
    assert here.keys() == {"python", "torch", "transformers"}
    same = nodes.Node("10.0.0.1", 4, 0, here)
    other = nodes.Node("10.0.0.2", 4, 0, here | {"transformers": found})
    idle = nodes.Node("10.0.0.3", 0, 0, here | {"torch": "1.0.0"})  # a head on which nothing trains
    monkeypatch.setattr(nodes, "ask_nodes", lambda: [same, idle])
    nodes.check_versions()
    monkeypatch.setattr(nodes, "ask_nodes", lambda: [same, other])
    wanted = f"10.0.0.2 of the cluster has transformers {found or 'missing'}, this machine {here['transformers']}"
    with pytest.raises(UsageError, match=wanted):
        nodes.check_versions()


@pytest.mark.parametrize("kind", [RuntimeError, Exception])
def test_a_local_ray_that_does_not_start_is_no_fault_of_an_address(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def late(*_: object, **__: object) -> None:
        raise kind("Timed out waiting for a file")

    monkeypatch.setattr("ray.init", late)
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "1")
    with (
        pytest.raises(RunFailedError, match=r"did not start on this machine \(Timed out"),
        connect(None, 1),
    ):
        pass
