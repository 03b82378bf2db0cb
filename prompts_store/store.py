"""Learned prompts in MLflow's registry: a registered model per method, backbone and task, a version per artifact."""

import re
import tempfile
from difflib import get_close_matches
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

from prompts_store.cache import Cache, cache_folder
from prompts_store.errors import StoreError
from prompts_store.names import model_name
from prompts_store.registry import Registry
from prompts_store.tracking import ensure_experiment, mlflow_errors, prepare_store
from prompts_store.versions import BEST, StoredPrompt, best, matching

if TYPE_CHECKING:  # it imports torch, which whoever only looks for prompts does not need
    from prompts_store.artifact import Artifact

Prompts = list[StoredPrompt]


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
        self._registry = Registry(self.tracking_uri)

    def __reduce__(self) -> "tuple[type[PromptStore], tuple[str]]":
        return PromptStore, (self.tracking_uri,)

    @property
    def client(self) -> Any:
        """The `mlflow.MlflowClient` of this store."""
        return self._registry.client

    def ensure_experiment(self, name: str) -> str:
        """The id of the experiment `name`, created when it is not there; see `tracking.ensure_experiment`."""
        return ensure_experiment(self.client, self.tracking_uri, name)

    def put(self, artifact: "Artifact", *, run_id: str, aliases: Literal["auto", "none"] = "auto") -> StoredPrompt:
        """Store `artifact` as a new version of its registered model and return it.

        The stored card's `run_id` is `run_id`. Storing the same tensors from the same run again returns the version
        that is there, so that a retried worker leaves no second one.

        Args:
            artifact: what to store.
            run_id: the MLflow run that made it; its experiment keeps the files.
            aliases: 'auto' moves `best` to the version with the highest dev score (see `versions.best`); 'none' leaves
                it where it is.

        Raises:
            StoreError: the run does not exist, or the store refuses; no version is then visible.
        """
        from prompts_store.artifact import Artifact, save_artifact
        from prompts_store.transfer import TEMPORARY, upload

        artifact = Artifact(artifact.card.model_copy(update={"run_id": run_id}), artifact.tensors)
        name = model_name(artifact.card.method, artifact.card.backbone, artifact.card.task)
        with mlflow_errors(self.tracking_uri), tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
            folder = Path(temporary, "artifact")
            card = save_artifact(artifact, folder)
            stored = self._registry.search(name=name)
            there = [p for p in stored if (p.run_id, p.tensors_sha256) == (run_id, card.tensors_sha256)]
            if there:
                version = there[0].version
            else:
                model, digest = upload(self.client, self.tracking_uri, folder, card, name)
                version = self._registry.register(name, card, digest, model)
            if aliases == "auto":
                self._registry.move_best(name)
            return next(p for p in self._registry.search(name=name) if p.version == version)

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
        from prompts_store.transfer import download

        stored = self.resolve(ref, method=method, backbone_fingerprint=backbone_fingerprint, k=k)
        with mlflow_errors(self.tracking_uri):
            location = self.client.get_model_version_download_uri(stored.name, str(stored.version))
            try:
                return download(self.tracking_uri, location, stored, Cache(cache_folder()))
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
                task such as 'mnli' (the best of all that are stored for it).
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
            named = self._registry.search(name=name)
        known = named if named or kind else self.find(task=name)
        if not known:
            raise self._unknown(ref, name)
        found = matching(known, method=method, backbone_fingerprint=backbone_fingerprint, k=k)
        if kind == "/":
            found = [p for p in found if p.version == int(which)]
        elif kind == "@":
            found = [p for p in found if which in p.aliases]
        if not found:
            there = ", ".join(_describe(p) for p in known[-5:])
            wanted = _describe_wanted(method, backbone_fingerprint, k)
            raise StoreError(f"No stored prompt answers to {ref!r}{wanted}. There are: {there}.")
        if named:
            found = [p for p in found if BEST in p.aliases] or found
        return best(found)

    def find(
        self,
        *,
        task: str | None = None,
        method: str | None = None,
        backbone_fingerprint: str | None = None,
        k: int | EllipsisType | None = ...,
    ) -> Prompts:
        """All whole versions that match, sorted by name and version; see `resolve` for the arguments."""
        with mlflow_errors(self.tracking_uri):
            prompts = self._registry.search(task=task)
        return matching(prompts, method=method, backbone_fingerprint=backbone_fingerprint, k=k)

    def list(self) -> Prompts:
        """All whole versions, sorted by name and version."""
        return self.find()

    def _unknown(self, ref: str, name: str) -> StoreError:
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
