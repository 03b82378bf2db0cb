"""`orchestrator prompts` beyond list and show of ordinary prompts."""

from pathlib import Path

import pytest

from orchestrator.commands.prompts import list_prompts, show_prompt
from prompts_store import Artifact, PromptStore
from tests.orchestrator.helpers import console
from tests.prompts_store.conftest import make_artifact, make_card

MNLI, CB = "dept-minilm-mnli", "dept-minilm-cb"
UNKNOWN = dict.fromkeys(("dev_score", "alpha1", "alpha2", "steps", "batch", "seed", "rows_train"))


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    """The store that commands in this process use, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return PromptStore(tracking_uri)


@pytest.fixture
def run_id(store: PromptStore) -> str:
    return str(store.client.create_run(store.ensure_experiment("runs"), run_name="mnli").info.run_id)


def test_what_is_unknown_is_shown_as_a_dash(store: PromptStore, run_id: str) -> None:
    store.put(Artifact(make_card(**UNKNOWN), make_artifact().tensors), run_id=run_id)
    to, printed = console()
    list_prompts(None, False, to)
    (row,) = [line for line in printed.getvalue().splitlines() if f"{MNLI}/1" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1:5] == ["best, latest", "all rows", "-", "scratch"]
    to, printed = console()
    show_prompt("mnli", to)
    text = printed.getvalue()
    assert "dev -, test not tested" in text
    assert "on - rows" in text
    assert "best at step -, batch -, α1=-, α2=-, seed -" in text
