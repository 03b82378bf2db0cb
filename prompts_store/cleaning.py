"""What killed processes and lost files leave behind, and its removal."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prompts_store.cache import half_written
from prompts_store.errors import StoreError
from prompts_store.files import TEMPORARY, missing_files
from prompts_store.store import PromptStore
from prompts_store.tracking import mlflow_errors, paged
from prompts_store.transfer import MODEL_TYPE, is_used, remove
from prompts_store.versions import StoredPrompt

GRACE = 3600.0
"""Seconds that something half-written is left alone, because whoever writes it may be alive."""


@dataclass(frozen=True)
class Rubbish:
    """Something to remove: a version, an upload that no version is made of, or a file of this machine."""

    what: str
    reason: str


def collect(store: PromptStore, *, dry_run: bool = False, grace: float = GRACE) -> list[Rubbish]:
    """Remove versions whose files are gone, uploads that no version is made of, and our leftovers on this machine.

    It also sets `best` where a killed process did not come to it.

    Args:
        store: what to clean.
        dry_run: find it all, remove nothing.
        grace: how many seconds ago something half-written must have been touched last.

    Raises:
        StoreError: no version has its files: the place they lie in is then rather away than empty.
    """
    before = time.time() - grace
    stored = store.list()
    found = []
    with mlflow_errors(store.tracking_uri):
        for prompt, missing in _without_files(store, stored):
            found.append(Rubbish(prompt.ref, f"a version without its {' and '.join(missing)}"))
            if not dry_run:
                store.client.delete_model_version(prompt.name, str(prompt.version))
                remove(store.client, store.tracking_uri, prompt.model_id)
        for model_id, reason in _without_version(store, {prompt.model_id for prompt in stored}, before):
            found.append(Rubbish(model_id, reason))
            if not dry_run:
                remove(store.client, store.tracking_uri, model_id)
        for path in _leftovers(before):
            found.append(Rubbish(str(path), "a file or folder that was being written"))
            if not dry_run:
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not dry_run:
            for name in {prompt.name for prompt in stored}:
                store.registry.move_best(name)
    return found


def _without_files(store: PromptStore, stored: list[StoredPrompt]) -> list[tuple[StoredPrompt, list[str]]]:
    checked = [(prompt, missing_files(store.tracking_uri, store.registry.location(prompt))) for prompt in stored]
    found = [(prompt, missing) for prompt, missing in checked if missing]
    if stored and len(found) == len(stored):
        raise StoreError(
            f"None of the {len(stored)} versions has its files, such as {stored[0].ref} in "
            f"{store.registry.location(stored[0])}: bring that place back, or remove the versions by 'orchestrator "
            "prompts delete'. Nothing was removed."
        )
    return found


def _without_version(store: PromptStore, used: set[str], before: float) -> Iterator[tuple[str, str]]:
    """Our logged models, and why each is rubbish: one whose upload failed at once, the others after a while."""
    from mlflow.entities import ViewType

    experiments = paged(store.client.search_experiments, view_type=ViewType.ALL, size=1000)
    ids = [experiment.experiment_id for experiment in experiments]
    ours = f"model_type = '{MODEL_TYPE}'"
    for model in list(paged(store.client.search_logged_models, ids, ours, size=1000)):
        failed = str(model.status) == "FAILED"
        old = failed or model.last_updated_timestamp / 1000 <= before
        if old and model.model_id not in used and not is_used(store.client, model.model_id):
            yield model.model_id, "an upload that failed" if failed else "an upload that no version was made of"


def _leftovers(before: float) -> Iterator[Path]:
    temporary = Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*")
    for path in sorted([*temporary, *half_written()]):
        with suppress(OSError):  # someone else may be removing it
            info = path.lstat()
            if info.st_uid == os.getuid() and info.st_mtime <= before:
                yield path
