"""Learned prompts in MLflow's registry: a registered model per method, backbone and task, a version per artifact."""

import logging
import re
import tempfile
from difflib import get_close_matches
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from prompts_store.brought import brought_run
from prompts_store.cache import Cache
from prompts_store.errors import StoreError
from prompts_store.files import TEMPORARY, files_cache
from prompts_store.names import model_name
from prompts_store.registry import Registry
from prompts_store.tracking import ensure_experiment, mlflow_errors, prepare_store
from prompts_store.versions import StoredPrompt, best, marked_best, matching

if TYPE_CHECKING:  # it imports torch, which whoever only looks for prompts does not need
    from prompts_store.artifact import Artifact

Prompts = list[StoredPrompt]
Versions = list[int]

log = logging.getLogger(__name__)


class PromptStore:
    """Stored prompts in an MLflow registry: SQLite with a folder, or a server that artifacts go through.

    A version is registered last, after its files were uploaded and read back, so whatever `find` and `get` see is
    whole. `best` is an alias in MLflow, moved by `put`; `latest` is worked out on reading: MLflow reserves the name.

    Args:
        tracking_uri: MLflow's; by default MLFLOW_TRACKING_URI, else mlflow.db in the working directory.

    Raises:
        StoreError: the store cannot be used (see `prepare_store`).
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.tracking_uri = prepare_store(tracking_uri)
        self.registry = Registry(self.tracking_uri)
        """MLflow's records below; whoever uses them wraps MLflow's errors in `mlflow_errors`."""

    def __reduce__(self) -> "tuple[type[PromptStore], tuple[str]]":
        return PromptStore, (self.tracking_uri,)

    @property
    def client(self) -> Any:
        """The `mlflow.MlflowClient` of this store."""
        return self.registry.client

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment `name`, created when it is not there; see `tracking.ensure_experiment`."""
        return ensure_experiment(self.client, self.tracking_uri, name)

    def put(
        self, artifact: "Artifact", *, run_id: str | None, aliases: Literal["auto", "none"] = "auto"
    ) -> StoredPrompt:
        """Store `artifact` as a new version of its registered model and return it.

        The stored card's `run_id` is `run_id`. Storing the same tensors from the same run again returns the version
        that is there, so that a retried worker leaves no second one.

        Args:
            artifact: what to store.
            run_id: the MLflow run that made it; its experiment keeps the files. None for a prompt that was learned
                elsewhere, by the card's `origin_run` where that is known: it gets a run in the experiment 'brought'.
            aliases: 'auto' moves `best` to the version with the highest dev score (see `versions.best`); 'none' leaves
                it where it is.

        Raises:
            StoreError: the run does not exist, or the store refuses; no version is then visible.
        """
        from prompts_store.artifact import Artifact, save_artifact, tensors_sha256
        from prompts_store.transfer import remove, upload

        with mlflow_errors(self.tracking_uri), tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
            card, folder = artifact.card, Path(temporary, "artifact")
            name = self.registry.current_name(model_name(card.method, card.backbone, card.task))
            digest = tensors_sha256(artifact)
            learned_by = card.origin_run or run_id
            there = self._same(name, digest, learned_by)
            if there:
                version = there[0]
            else:
                run_id = run_id or brought_run(self.client, self.tracking_uri, card, digest)
                artifact = Artifact(card.model_copy(update={"run_id": run_id}), artifact.tensors)
                card = save_artifact(artifact, folder)
                log.debug("storing a version of %s, tensors %s", name, digest)
                model, card_digest = upload(self.client, self.tracking_uri, folder, card, name)
                mine = self.registry.register(name, card, card_digest, model)
                version = self._same(name, digest, learned_by or run_id)[0]
                if version != mine:  # another process stored the same meanwhile
                    self.client.delete_model_version(name, str(mine))
                    remove(self.client, self.tracking_uri, model.model_id)
            log.debug("%s/%s %s", name, version, "was there already" if there else "is stored")
            if aliases == "auto":
                self.registry.move_best(name)
            return next(p for p in self.registry.search(name=name) if p.version == version)

    def _same(self, name: str, tensors_sha256: str, learned_by: str | None) -> Versions:
        """The versions with these tensors from this run (None: any run), the oldest first."""
        prompts = [p for p in self.registry.search(name=name) if p.tensors_sha256 == tensors_sha256]
        return [p.version for p in prompts if learned_by in (p.learned_by, None)]

    def get(
        self,
        ref: str,
        *,
        method: str | None = None,
        backbone_fingerprint: str | None = None,
        k: int | EllipsisType | None = ...,
    ) -> "Artifact":
        """Fetch the artifact that `resolve` finds, verified against its card and its version's tags.

        Raises:
            StoreError: nothing answers to `ref`, or the files are missing, changed, or not what the version says.
        """
        stored = self.resolve(ref, method=method, backbone_fingerprint=backbone_fingerprint, k=k)
        return self.fetch(stored, files_cache())

    def fetch(self, stored: StoredPrompt, cache: Cache | None) -> "Artifact":
        """Fetch a version's artifact as `get` does, or with no cache from the store itself.

        Raises:
            StoreError: the files are missing, changed, or not what the version says.
        """
        from prompts_store.transfer import download

        with mlflow_errors(self.tracking_uri):
            location = self.registry.location(stored)
            try:
                return download(self.tracking_uri, location, stored, cache)
            except StoreError as error:
                raise StoreError(f"The stored prompt {stored.ref} is refused. {error}") from error

    def resolve(
        self,
        ref: str,
        *,
        method: str | None = None,
        backbone_fingerprint: str | None = None,
        k: int | EllipsisType | None = ...,
    ) -> StoredPrompt:
        """The stored prompt that `ref` means.

        Args:
            ref: 'dept-minilm-mnli' (its best), 'dept-minilm-mnli/3', 'dept-minilm-mnli@latest' or another alias, or a
                task such as 'mnli' (the best of the best of its names). A name from before a rename is as good.
            method: only this method.
            backbone_fingerprint: only prompts learned on this backbone.
            k: only few-shot results of this k; None for sources only; all when left out.

        Raises:
            StoreError: nothing answers, with near names and the command that would make it.
        """
        name, kind, which = re.fullmatch(r"([^/@]*)(?:([/@])(.*))?", ref, re.DOTALL).groups()  # type: ignore[union-attr]
        if kind == "/" and not re.fullmatch("[0-9]{1,9}", which):
            raise StoreError(f"The version in {ref!r} is not a number: write NAME/3, NAME@latest, NAME, or a task.")
        with mlflow_errors(self.tracking_uri):
            named = self.registry.named(name)
        known = named if named or kind else self.find(task=name)
        if not known:
            raise self.unknown(ref, name)
        found = matching(known, method=method, backbone_fingerprint=backbone_fingerprint, k=k)
        if kind == "/":
            found = [p for p in found if p.version == int(which)]
        elif kind == "@":
            found = [p for p in found if which in p.aliases]
        if not found:
            there = ", ".join(_describe(p) for p in known[-5:])
            wanted = _describe_wanted(method, backbone_fingerprint, k)
            raise StoreError(f"No stored prompt answers to {ref!r}{wanted}. There are: {there}.")
        return best(marked_best(found))

    def find(
        self,
        *,
        task: str | None = None,
        method: str | None = None,
        backbone: str | None = None,
        backbone_fingerprint: str | None = None,
        k: int | EllipsisType | None = ...,
        min_score: float | None = None,
        text: str | None = None,
    ) -> Prompts:
        """All whole versions that match, sorted by name and version.

        Args:
            task: only those of this task.
            method: only this method.
            backbone: only prompts for a backbone of this name.
            backbone_fingerprint: only prompts learned on this backbone.
            k: only few-shot results of this k; None for sources only; all when left out.
            min_score: only those whose dev score is known and at least this, in the metric's own unit.
            text: only those with this in their name, in upper or lower case.
        """
        with mlflow_errors(self.tracking_uri):
            prompts = self.registry.search(task=task)
        return matching(
            prompts,
            method=method,
            backbone=backbone,
            backbone_fingerprint=backbone_fingerprint,
            k=k,
            min_score=min_score,
            text=text,
        )

    def list(self) -> Prompts:
        """All whole versions, sorted by name and version."""
        return self.find()

    def unknown(self, ref: str, name: str) -> StoreError:
        """The error to raise where nothing answers to `ref`, which asks for `name`."""
        prompts = self.list()
        known = sorted({p.name for p in prompts} | {p.task for p in prompts})
        near = get_close_matches(name, known, n=3) + [n for n in known if name and n.endswith((f".{name}", f"-{name}"))]
        hint = f" Near: {', '.join(dict.fromkeys(near))}." if near else ""
        task = name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._]*", name) else "TASK"
        return StoreError(
            f"No stored prompt answers to {ref!r} in this store, which holds {len(prompts)}.{hint} See 'orchestrator "
            f"prompts list', or make it with 'orchestrator pretrain-source --tasks {task.removeprefix('sample.')}'."
        )


def _describe(prompt: StoredPrompt) -> str:
    kind = "source" if prompt.k is None else f"k={prompt.k}"
    return f"{prompt.ref} ({kind}, backbone {prompt.backbone} {prompt.backbone_fingerprint[:12]})"


def _describe_wanted(method: str | None, backbone_fingerprint: str | None, k: int | EllipsisType | None) -> str:
    wanted = [] if method is None else [f"method {method}"]
    wanted += [] if backbone_fingerprint is None else [f"the backbone with fingerprint {backbone_fingerprint[:12]}"]
    wanted += [] if k is ... else ["sources only" if k is None else f"k={k}"]
    return f" with {', '.join(wanted)}" if wanted else ""
