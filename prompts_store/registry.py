"""The registry's own records: which versions there are, their aliases, and writing a new one."""

import re
from functools import cached_property
from typing import Any

from prompts_store.card import Card
from prompts_store.tracking import connect
from prompts_store.versions import BEST, StoredPrompt, best, query, read_versions, version_tags

_PAGE = 10_000
_SEARCHABLE = re.compile(r"[\w.~ -]+", re.ASCII)


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
        page = self.client.search_model_versions(wanted, max_results=_PAGE)
        versions = [*page]
        while page.token:
            page = self.client.search_model_versions(wanted, max_results=_PAGE, page_token=page.token)
            versions.extend(page)
        prompts = read_versions(versions, self._aliases({version.name for version in versions}))
        return [prompt for prompt in prompts if task is None or prompt.task == task]

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
        """Set the alias, and look again: another process may have stored a better version meanwhile."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import IntegrityError

        for last in (False, False, False, False, True):
            wanted = best(self.search(name=name))
            if BEST in wanted.aliases:
                return
            try:
                self.client.set_registered_model_alias(name, BEST, str(wanted.version))
            except (MlflowException, IntegrityError):  # two at once, both setting it for the first time
                if last:
                    raise

    def _aliases(self, names: set[str]) -> dict[str, dict[str, str]]:
        """name -> alias -> version; a search for versions does not bring the aliases along."""
        if len(names) <= 3:
            return {name: dict(self.client.get_registered_model(name).aliases) for name in names}
        page = self.client.search_registered_models(max_results=1000)
        models = [*page]
        while page.token:
            page = self.client.search_registered_models(max_results=1000, page_token=page.token)
            models.extend(page)
        return {model.name: dict(model.aliases) for model in models}
