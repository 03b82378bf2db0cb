"""A real Ray cluster of two nodes that have this project's dependencies, but not its code.

Both are processes on loopback, or, where the machine allows, in network namespaces of their own: each with its own
address, a /tmp of its own, and empty folders in place of our packages.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestrator.cluster import our_code
from tests.servers import free_port

TOP = Path(__file__).parents[2]
START_SECONDS = 90.0
HEAD_PORT, CLIENT_PORT = 6379, 10001


@dataclass
class Node:
    """A node: what `ray start --block` and its daemons are.

    Attributes:
        address: Its IP address.
        place: Its folder; with a namespace, its /tmp.
        process: What started it.
        log: What it wrote.
    """

    address: str
    place: Path
    process: subprocess.Popen[bytes]
    log: Path

    def processes(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def start(self, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
        """Start a command in the node's namespaces, with our code in a folder of its own, and in /tmp/work."""
        code, work = self.place / "code", self.place / "work"
        if not code.exists():
            for package in our_code():
                shutil.copytree(package, code / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
        work.mkdir(exist_ok=True)
        inside = [
            "nsenter",
            "--target",
            str(self.inside.pid),
            "--net",
            "--mount",
            "sh",
            "-c",
            'cd /tmp/work; exec "$@"',
        ]
        return subprocess.Popen(
            [*inside, "command", "/tmp/venv/bin/python", "-m", "orchestrator", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/tmp", "PYTHONPATH": "/tmp/code", **environment},
        )  # fmt: skip

    @property
    def inside(self) -> psutil.Process:
        """A process in the node's namespaces."""
        return next(process for process in self.processes() if process.name() == "raylet")

    def kill(self) -> None:
        """Kill -9: the raylet, its workers and all else."""
        found = self.processes()
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)
        self.process.wait(timeout=10)


@dataclass
class Cluster:
    """Two nodes.

    Attributes:
        head: The one with the cluster's own processes.
        other: The other.
        address: For a driver on one of the nodes.
        client_address: For a driver anywhere.
        token: Without which Ray answers nobody.
    """

    head: Node
    other: Node
    address: str
    client_address: str
    token: str

    def environment(self, tracking_uri: str, folder: Path) -> dict[str, str]:
        """What a command in a folder needs, on this machine."""
        return os.environ | {
            "MLFLOW_TRACKING_URI": tracking_uri, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token,
            "PYTHONPATH": str(TOP), "ORCHESTRATOR_CACHE": str(folder.parent / f"{folder.name}-cache"),
        }  # fmt: skip

    def start(self, tracking_uri: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a folder, on this machine."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments], cwd=folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=self.environment(tracking_uri, folder),
        )  # fmt: skip

    def run(self, tracking_uri: str, folder: Path, *arguments: str) -> str:
        """Run a command to its end, which must be a good one."""
        return finish(self.start(tracking_uri, folder, *arguments))


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the end of a command; returns what it wrote."""
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == code, output
    return output


def namespaces_allowed() -> bool:
    """Whether network namespaces can be made here."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    name = f"orc{os.getpid()}t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        made = subprocess.run(
            ["ip", "netns", "exec", name, "unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True, check=False,
        ).returncode == 0  # fmt: skip
        subprocess.run(["ip", "netns", "del", name], check=False)
    return made


@contextmanager
def two_nodes(*, separate: bool) -> Iterator[Cluster]:
    """Start both and wait until they know each other; kill them at the end.

    Args:
        separate: In namespaces of their own, which must be allowed.
    """
    token, mark = secrets.token_hex(32), secrets.token_hex(3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orc-")))  # short: Ray's sockets are in it
        addresses = stack.enter_context(_network(mark)) if separate else ["127.0.0.2", "127.0.0.3"]
        ports = (HEAD_PORT, CLIENT_PORT) if separate else (free_port(), free_port())
        common = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats", "--block"]
        head_arguments = ["--head", "--port", str(ports[0]), "--ray-client-server-port", str(ports[1])]
        head_arguments += ["--include-dashboard", "false"]
        nodes = []
        for number, arguments in enumerate((head_arguments, ["--address", f"{addresses[0]}:{ports[0]}"])):
            place = folder / str(number)
            python = _bare_python(place)
            command = [*arguments, "--node-ip-address", addresses[number], *common]
            node = _start(place, python, _name(mark, number), addresses[number], command, token, separate=separate)
            nodes.append(node)
            stack.callback(node.kill)
            _wait_for(node, "runtime started")
        at = addresses[0]
        yield Cluster(nodes[0], nodes[1], f"{at}:{ports[0]}", f"ray://{at}:{ports[1]}", token)


def _bare_python(place: Path) -> Path:
    """An environment that sees the libraries installed here, and nothing of an editable installation of our code."""
    place.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    (packages,) = (place / "venv").glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # .pth files in there are not read
    return place / "venv" / "bin" / "python"


def _start(
    place: Path, python: Path, namespace: str, address: str, arguments: Sequence[str], token: str, *, separate: bool
) -> Node:
    environment = {
        "PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(place), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1",
    }  # fmt: skip
    check = subprocess.run(
        [python, "-c", "import orchestrator"], cwd=place, env=environment, capture_output=True, check=False
    )
    assert b"No module named 'orchestrator'" in check.stderr, "the nodes must not have our code"
    if separate:
        environment["HOME"] = "/tmp"
        hide = "".join(f"mount -t tmpfs -o size=4k none {code}; " for code in our_code())
        script = f'set -e; {hide}mount --bind {place} /tmp; cd /tmp; exec /tmp/venv/bin/python "$@"'
        command = ["ip", "netns", "exec", namespace, "unshare", "-m", "sh", "-c", script, "node"]
    else:
        command = [str(python)]
        arguments = [*arguments, "--temp-dir", str(place / "ray")]
    log = place / "node.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-m", "ray.scripts.scripts", "start", *arguments],
            cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return Node(address, place, process, log)


def _wait_for(node: Node, words: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while words not in (text := node.log.read_text(errors="replace")):
        assert node.process.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def _name(mark: str, number: int) -> str:
    return f"orc{mark}n{number}"


@contextmanager
def _network(mark: str) -> Iterator[list[str]]:
    """Two namespaces on a bridge that this machine is on as well."""
    bridge, net = f"orc{mark}b", f"10.213.{int(mark[:2], 16)}"
    addresses = [f"{net}.{number + 1}" for number in range(2)]

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check, capture_output=not check)

    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{net}.254/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, address in enumerate(addresses):
            name = _name(mark, number)
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield addresses
    finally:
        for number in range(len(addresses)):
            ip("netns", "del", _name(mark, number), check=False)
        ip("link", "del", bridge, check=False)
