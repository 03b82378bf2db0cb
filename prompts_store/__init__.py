"""Where learned prompts live: the artifact, its card, and the MLflow registry.

Importing this package loads neither torch nor MLflow nor pydantic: each public name is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prompts_store.errors import StoreError

if TYPE_CHECKING:
    from prompts_store.artifact import Artifact, load_artifact, save_artifact
    from prompts_store.card import Card, Sizes, check_compatible
    from prompts_store.names import clean_name, model_name, original_name
    from prompts_store.store import PromptStore
    from prompts_store.tracking import artifact_root, default_tracking_uri, prepare_store
    from prompts_store.versions import StoredPrompt

_HOMES = {
    "Artifact": "artifact",
    "Card": "card",
    "PromptStore": "store",
    "Sizes": "card",
    "StoredPrompt": "versions",
    "artifact_root": "tracking",
    "check_compatible": "card",
    "clean_name": "names",
    "default_tracking_uri": "tracking",
    "load_artifact": "artifact",
    "model_name": "names",
    "original_name": "names",
    "prepare_store": "tracking",
    "save_artifact": "artifact",
}

__all__ = [
    "Artifact",
    "Card",
    "PromptStore",
    "Sizes",
    "StoreError",
    "StoredPrompt",
    "artifact_root",
    "check_compatible",
    "clean_name",
    "default_tracking_uri",
    "load_artifact",
    "model_name",
    "original_name",
    "prepare_store",
    "save_artifact",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
