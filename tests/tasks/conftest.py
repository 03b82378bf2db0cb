import os
from pathlib import Path

import pytest
from hypothesis import settings

from tasks import _hub

# the first example imports what the next ones need
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def real_rows() -> Path:
    """Return the folder with real rows, or skip: they are not part of the project."""
    shared = Path(os.environ.get("ORCHESTRATOR_SHARED") or Path(__file__).parents[3] / "shared")
    if not (shared / "data" / "mnli").is_dir():
        pytest.skip("no real rows here")
    return shared / "data"


@pytest.fixture
def fresh_probe():
    """Let the probe of the hub be asked anew, and forget its answer afterwards."""
    _hub.why_no_hub.cache_clear()
    yield
    _hub.why_no_hub.cache_clear()


@pytest.fixture
def offline(monkeypatch, tmp_path, fresh_probe):
    """No hub, and an empty datasets cache, whose folder is returned."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def online(monkeypatch, fresh_probe):
    """A hub that can be reached."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_hub, "_probe", lambda endpoint: None)
