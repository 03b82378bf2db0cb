"""`orchestrator prompts import|export`: prompts from and for other tools."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

from orchestrator import __version__
from orchestrator.errors import UsageError
from orchestrator.recorder import Recorder
from pipelines.backbone import describe_backbone
from pipelines.folders import Adapter, read_adapter, write_adapter
from prompts_store import Artifact, Card, PromptStore, StoredPrompt
from tasks import Task, load_task, primary_metric, task_names

EXPERIMENT = "import"


def import_prompt(
    folder: Path,
    task: str | None = None,
    backbone: str | None = None,
    prompt_only: bool = False,
    console: Console | None = None,
) -> StoredPrompt:
    """Store a prompt from a folder of the DePT release, of PEFT's prompt tuning or of our own export.

    Args:
        folder: Holds ``adapter_config.json`` and the tensors.
        task: What it was trained for; by default what the folder's name says.
        backbone: What it was trained on; by default what the folder says.
        prompt_only: Take a prompt without A and B as plain prompt tuning.
        console: Where to say what was stored, if anywhere.

    Raises:
        PipelineError, TaskError, UsageError: If the folder, the task or the backbone does not fit; nothing is stored.
    """
    adapter = read_adapter(folder, prompt_only=prompt_only)
    learned = _task(folder, task)
    info = describe_backbone(_backbone(folder, backbone, adapter))
    factors, d = adapter.factors, adapter.factors.prompt.shape[1]
    if d != info.d:
        raise UsageError(f"the prompt in {folder} has d={d}, the backbone {info.name} has d={info.d}: give its own")
    tensors = {"prompt": factors.prompt, "A": factors.A, "B": factors.B}
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors.values())).hexdigest()
    card = Card(
        method=adapter.method,
        task=learned.name,
        task_version=learned.version,
        labels=list(learned.labels),
        backbone=info.name,
        backbone_fingerprint=info.fingerprint,
        tokenizer_fingerprint=info.tokenizer_fingerprint,
        family=info.family,
        d=d,
        m=factors.m,
        r=factors.r,
        s=factors.s,
        gamma=factors.gamma,
        alpha1=None,
        alpha2=None,
        steps=None,
        batch=None,
        seed=None,
        dev_score=None,
        rows_train=None,
        start="unknown",
        metric=primary_metric(learned.metric),
        data_source=f"imported from {folder.resolve().name}",
        data_digest=digest[:16],
        orchestrator_version=__version__,
    )
    store = PromptStore()
    params = {"m": card.m, "r": card.r, "s": card.s, "gamma": card.gamma, "method": card.method}
    tags = {"task": card.task, "backbone": card.backbone, "data_digest": card.data_digest}
    with Recorder(store, EXPERIMENT, name=card.task, kind=EXPERIMENT, params=params, tags=tags) as recorder:
        stored = store.put(Artifact(card, tensors), run_id=recorder.parent)
        recorder.tag(None, "prompt", stored.ref)
    (console or Console(quiet=True)).print(
        f"stored {stored.ref}: {adapter.method}, m={card.m}, r={card.r}, s={card.s}, gamma={card.gamma:.4g}; "
        "its rates and scores are not known",
        highlight=False,
        soft_wrap=True,
    )
    return stored


def export_prompt(ref: str, folder: Path, console: Console) -> None:
    """Write a stored prompt as a PEFT folder.

    Raises:
        StoreError, PipelineError: If there is no such prompt, or the folder is in use.
    """
    artifact = PromptStore().get(ref)
    write_adapter(artifact, folder)
    console.print(
        f"wrote {folder}: load it with PeftModel.from_pretrained(backbone, {str(folder)!r}) after `import "
        "pipelines.peft_dept`" + (", its classification head from head.safetensors" if artifact.head else ""),
        highlight=False,
        soft_wrap=True,
    )


def _task(folder: Path, name: str | None) -> Task:
    if name is not None:
        return load_task(name)
    guess = folder.resolve().name
    for known in task_names():
        if guess == known or guess.endswith(f"-{known}"):
            return load_task(known)
    raise UsageError(f"the folder's name {guess!r} is no task of the catalogue: say what it was trained for by --task")


def _backbone(folder: Path, name: str | None, adapter: Adapter) -> str:
    if name or adapter.backbone:
        return name or adapter.backbone
    raise UsageError(f"{folder} does not say its backbone: give --backbone")
