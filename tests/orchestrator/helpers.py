"""A few-shot command's runs as `fewshot` leaves them, without training anything."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from orchestrator.recorder import BY_SEED, KIND, ROLE, Recorder
from prompts_store import PromptStore


@dataclass(frozen=True)
class Final:
    """A tested configuration."""

    scores: Mapping[int, float]
    start_task: str = "scratch"
    method: str = "dept"
    k: int = 16
    backbone: str = "minilm"
    metric: str = "accuracy"
    dev: float = 0.5
    digest: str = "aa:bb:cc"
    state: str = "finished"
    role: str = "final"
    extra: Mapping[str, str] = field(default_factory=dict)


def record(store: PromptStore, task: str, finals: Sequence[Final]) -> list[str]:
    """Write a few-shot command with these configurations; returns their runs."""
    recorder = Recorder(
        store, f"fewshot.{task}", name=f"{task} few-shot", kind="fewshot", params={"k": 16}, tags={"backbone": "minilm"}
    )
    with recorder:
        for config, final in enumerate(finals):
            params = {
                "k": final.k,
                "start_task": final.start_task,
                "method": final.method,
                "metric": final.metric,
                "test_rows": 300,
                **final.extra,
            }
            tags = {
                KIND: "fewshot",
                ROLE: final.role,
                "task": task,
                "backbone": final.backbone,
                "data_digest": final.digest,
            }
            recorder.start(config, f"{final.method}: {final.start_task}", params, tags)
            recorder.summarise(config, {"best_dev_score": final.dev}, {BY_SEED: final.scores})
            recorder.finish(config, final.state, None if final.state == "finished" else "it was told to")
    return [recorder.run_id(config) for config in range(len(finals))]


def console() -> tuple[Console, io.StringIO]:
    """A console and what is printed on it."""
    printed = io.StringIO()
    return Console(file=printed, width=200), printed
