"""`orchestrator bench` on tiny backbones: what it prints and keeps, and that its clocks and stubs are right."""

import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.bench.overhead import StubPack, measure
from orchestrator.bench.search import Stopwatch, TimedFamily
from orchestrator.commands.bench import bench
from orchestrator.errors import UsageError
from pipelines.pack import Pack
from tests.pipelines.tiny import Tiny, TinyFolder, toy_data, toy_slot, toy_spec


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_steps_and_packs_of_any_family(kind: str, tiny_folder: TinyFolder, tmp_path: Path) -> None:
    out, printed = tmp_path / "bench.json", io.StringIO()
    folder = str(tiny_folder(kind))
    bench(Console(file=printed, width=120), what=("step", "packs"), backbone=folder, mean=8, quick=True, out=out)
    kept = json.loads(out.read_text())
    assert len(kept["step"]) == 5
    assert all(seconds > 0 for seconds in kept["step"].values())
    assert kept["packs"]["seconds"].keys() == {"1", "2"}
    assert 0 < kept["packs"]["reached"] < kept["packs"]["possible"]
    assert {"date", "device", "cores", "threads", "torch"} == kept["machine"].keys()
    assert "A training step of 32 rows" in printed.getvalue()
    assert "2 in a pack" in printed.getvalue()


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        bench(Console(quiet=True), what=("step",), backbone="unknown", out=tmp_path / "nowhere" / "bench.json")


def test_the_stopwatch_runs_in_forward_and_backward_passes_alone(tiny: Tiny) -> None:
    backbone = tiny("bert")
    data = toy_data(backbone)
    pack = Pack(backbone, [toy_slot(backbone, toy_spec(), data)])
    watch = Stopwatch()
    pack.family = TimedFamily(pack.family, watch)
    pauses = []
    backbone.model.register_forward_pre_hook(lambda *_: time.sleep(0.02))  # in the forward pass
    slot = pack.slots[0]
    slot.params["prompt"].register_hook(lambda gradient: time.sleep(0.05))  # in the backward pass
    before = slot.update
    slot.update = lambda loss: (pauses.append(time.sleep(0.3)), before(loss))[1]  # type: ignore[method-assign]
    start = time.perf_counter()
    pack.step()
    wall = time.perf_counter() - start
    assert len(pauses) == 1
    assert 0.07 <= watch.passes <= wall - 0.3
    passes = watch.passes
    pack.scores([slot], [data.dev])
    assert watch.passes >= passes + 0.02


def test_a_stub_counts_steps_and_leaves_the_tensors_alone(tiny: Tiny) -> None:
    backbone = tiny("bert")
    data = toy_data(backbone)
    slot = toy_slot(backbone, toy_spec(steps=4, eval_every=2), data)
    before = {name: tensor.clone() for name, tensor in slot.params.items()}
    pack = StubPack(backbone, [slot])
    judged = [len(pack.step()) for _ in range(4)]
    assert judged == [0, 1, 0, 1]
    assert slot.status == "finished"
    assert all(tensor.equal(before[name]) for name, tensor in slot.params.items())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_overhead_of_a_real_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/mlflow.db")
    found = measure(2, "minilm")
    assert found.configs == 2
    assert found.start > 0
    assert found.each == found.seconds / 2 > 0
    assert found.peak_rss > 100 * 2**20
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:////nowhere/mlflow.db"
