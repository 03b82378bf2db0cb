"""From a finished slot to a stored version."""

from __future__ import annotations

from orchestrator import __version__
from orchestrator.patience import patiently
from orchestrator.prepare import Prepared
from orchestrator.setup import Setup
from pipelines.heads import HEAD
from pipelines.run import Report
from prompts_store import Artifact, Card, Sizes, StoredPrompt


def store_slot(
    setup: Setup, report: Report, prepared: Prepared, *, run_id: str, k: int | None, start: Card | None = None
) -> StoredPrompt:
    """Store the best checkpoint of a finished slot.

    Args:
        setup: The command it was trained in.
        report: The slot's last report.
        prepared: What it was trained on.
        run_id: The run that trained it.
        k: Labelled training rows of a few-shot slot in all; None for a full source.
        start: The card of the artifact it started from, if any.
    """
    assert report.final is not None
    chosen = report.final.dev or report.best
    spec, info, task = report.spec, setup.info, prepared.task
    resized = start is not None and (start.m, start.r, start.s) != (spec.m, spec.r, spec.s)
    card = Card(
        method="dept",
        task=task.name,
        task_version=task.version,
        labels=list(task.labels),
        backbone=info.name,
        backbone_fingerprint=info.fingerprint,
        tokenizer_fingerprint=info.tokenizer_fingerprint,
        family=info.family,
        d=info.d,
        m=spec.m,
        r=spec.r,
        s=spec.s,
        gamma=spec.gamma,
        head=HEAD if info.family == "encoder" else None,
        alpha1=spec.alpha1,
        alpha2=spec.alpha2,
        steps=report.best_step,
        batch=spec.batch,
        seed=spec.seed,
        k=k,
        metric=prepared.data.metric,
        dev_score=chosen.score if chosen else None,
        test_score=report.final.test.score if report.final.test else None,
        rows_train=len(prepared.data.train),
        data_source=setup.source.kind,
        data_digest=prepared.digest,
        start=spec.start,
        resized_from=Sizes(m=start.m, r=start.r, s=start.s) if start is not None and resized else None,
        run_id=run_id,
        orchestrator_version=__version__,
    )
    artifact = Artifact(card, dict(report.final.tensors))
    return patiently(lambda: setup.store.put(artifact, run_id=run_id))
