"""The registry's own records: which versions there are, their names and aliases, and writing a new one."""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from prompts_store.card import Card
from prompts_store.tracking import connect, paged
from prompts_store.versions import BEST, StoredPrompt, best, query, read_versions, version_tags

_PAGE = 10_000
_SEARCHABLE = re.compile(r"[\w.~ -]+", re.ASCII)

_CHOSEN = "chosen_best"
"""The tag of a registered model whose `best` a person chose: the number of that version."""
_FORMER = "former_names"
"""The tag of a renamed one: its earlier names, a JSON list."""


class Registry:
    """MLflow's registry at `uri`; its methods raise MLflow's own errors.

    Args:
        uri: a tracking URI that `prepare_store` has made ready.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def client(self) -> Any:
        """The `mlflow.MlflowClient` of this store."""
        return connect(self.uri)

    def search(self, *, task: str | None = None, name: str | None = None) -> list[StoredPrompt]:
        """All whole versions, of this task and name where they are given, sorted by name and version."""
        if not all(text is None or _SEARCHABLE.fullmatch(text) for text in (task, name)):
            return []  # no stored name or task has such characters
        wanted = query(task=task, name=name)
        with _collection_paused():
            versions = list(paged(self.client.search_model_versions, wanted, size=_PAGE))
            prompts = read_versions(versions, self._aliases({version.name for version in versions}))
        return [prompt for prompt in prompts if task is None or prompt.task == task]

    def unreadable(self) -> list[str]:
        """The 'name/version' of what carries our tag, but not as we write it."""
        versions = list(paged(self.client.search_model_versions, query(), size=_PAGE))
        read = {(prompt.name, prompt.version) for prompt in read_versions(versions, {})}
        return sorted(f"{v.name}/{v.version}" for v in versions if (v.name, int(v.version)) not in read)

    def location(self, prompt: StoredPrompt) -> str:
        """The artifact URI of the folder with a version's files."""
        if not prompt.source.startswith("models:"):
            return prompt.source  # MLflow would give the same, one query later
        return str(self.client.get_model_version_download_uri(prompt.name, str(prompt.version)))

    def named(self, name: str) -> list[StoredPrompt]:
        """All whole versions of the registered model that has, or once had, this name."""
        return self.search(name=name) or self.search(name=self.current_name(name))

    def current_name(self, name: str) -> str:
        """`name`, or what the registered model of this name was renamed to."""
        if not _SEARCHABLE.fullmatch(name) or self._model(name) is not None:
            return name
        models = self.client.search_registered_models(f"tags.{_FORMER} LIKE '%\"{name}\"%'")
        return next((str(model.name) for model in models if name in _former(model)), name)

    def former_names(self, name: str) -> list[str]:
        """The names that the registered model `name` had before, oldest first."""
        model = self._model(name)
        return [] if model is None else _former(model)

    def is_taken(self, name: str, *, but: str) -> bool:
        """Whether `name` means, or once meant, another registered model than `but`."""
        now = self.current_name(name)
        return now != but and (now != name or self._model(name) is not None)

    def rename(self, name: str, new: str) -> None:
        """Give the registered model `name` another name; the old one goes on meaning it."""
        former = [past for past in self.former_names(name) if past != new]
        self.client.set_registered_model_tag(name, _FORMER, json.dumps([*former, name]))
        self.client.rename_registered_model(name, new)

    def choose_best(self, name: str, version: int | None) -> None:
        """Keep `best` at `version` whatever is stored later, or with None let the scores decide again."""
        if version is not None:
            self.client.set_registered_model_tag(name, _CHOSEN, str(version))
        elif self._chosen(name) is not None:
            self.client.delete_registered_model_tag(name, _CHOSEN)
        self.move_best(name)

    def register(self, name: str, card: Card, card_sha256: str, model: Any) -> int:
        """Make the uploaded `model` visible as a new version of `name`, and return its number."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                name, tags={"task": card.task, "method": card.method, "backbone": card.backbone}
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # With a database, MLflow would look 'models:/<id>' up in the process's global store, which may be another.
        through_server = self.uri.startswith(("http://", "https://"))
        version = self.client.create_model_version(
            name,
            f"models:/{model.model_id}" if through_server else model.artifact_location,
            run_id=card.run_id,
            tags=version_tags(card, card_sha256=card_sha256, model_id=model.model_id),
            model_id=model.model_id,
            await_creation_for=0,
        )
        return int(version.version)

    def move_best(self, name: str) -> None:
        """Set the alias, to the version that a person chose or else to the one with the best score.

        Then look again: another process may have stored a better version, or someone chosen one, meanwhile.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import IntegrityError

        for last in (False, False, False, False, True):
            prompts, chosen = self.search(name=name), self._chosen(name)
            if not prompts:
                return
            wanted = next((p for p in prompts if p.version == chosen), None) or best(prompts)
            if BEST in wanted.aliases:
                return
            try:
                self.client.set_registered_model_alias(name, BEST, str(wanted.version))
            except (MlflowException, IntegrityError):  # two at once, both setting it for the first time
                if last:
                    raise

    def _model(self, name: str) -> Any:
        """The registered model, or None where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _chosen(self, name: str) -> int | None:
        model = self._model(name)
        number = "" if model is None else model.tags.get(_CHOSEN, "")
        return int(number) if re.fullmatch("[0-9]{1,9}", number) else None

    def _aliases(self, names: set[str]) -> dict[str, dict[str, str]]:
        """name -> alias -> version; a search for versions does not bring the aliases along."""
        if len(names) <= 3:
            return {name: dict(self.client.get_registered_model(name).aliases) for name in names}
        models = paged(self.client.search_registered_models, size=1000)  # the most that MLflow gives
        return {model.name: dict(model.aliases) for model in models}


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection of cycles meanwhile: in vain, it takes two thirds of the time that 10,000 versions need."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _former(model: Any) -> list[str]:
    try:
        names = json.loads(model.tags.get(_FORMER, "[]"))
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
