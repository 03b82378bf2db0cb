import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prompts_store import PromptStore, StoreError
from prompts_store.changes import delete, rename
from prompts_store.copying import copy_prompt
from tests.prompts_store.conftest import make_artifact

NewRun = Callable[[], str]
NAME, CB = "dept-minilm-mnli", "dept-minilm-cb"


@pytest.fixture
def team(tmp_path: Path, empty_database: Path) -> PromptStore:
    """Another store, with a prompt of its own, so that version numbers differ."""
    (tmp_path / "team").mkdir()
    shutil.copyfile(empty_database, tmp_path / "team" / "mlflow.db")
    store = PromptStore(f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}")
    run_id = store.client.create_run(store.ensure_experiment("runs")).info.run_id
    store.put(make_artifact(99, dev_score=0.1), run_id=run_id)
    return store


@pytest.fixture
def mine(store: PromptStore, new_run: NewRun) -> PromptStore:
    """A target that started from a source that started from another one; names changed on the way."""
    store.put(make_artifact(0, task="qqp"), run_id=new_run())
    store.put(make_artifact(1, start="dept-minilm-qqp/1"), run_id=new_run())
    store.put(make_artifact(2, task="cb", k=16, start=f"{NAME}/1", test_score=0.5), run_id=new_run())
    rename(store, NAME, "nli")
    return store


def test_a_prompt_comes_with_what_it_started_from(mine: PromptStore, team: PromptStore) -> None:
    copied = copy_prompt(mine, "cb", team)
    refs = [(c.source.ref, c.stored.ref, c.new) for c in copied]
    assert refs == [
        ("dept-minilm-qqp/1", "dept-minilm-qqp/1", True),
        ("nli/1", f"{NAME}/2", True),
        (f"{CB}/1", f"{CB}/1", True),
    ]
    assert [c.stored.start for c in copied] == ["scratch", "dept-minilm-qqp/1", f"{NAME}/2"]
    here, there = mine.get("cb"), team.get("cb")
    assert all(torch.equal(here.tensors[name], there.tensors[name]) for name in here.tensors)
    kept = here.card.model_copy(update={n: getattr(there.card, n) for n in ("start", "run_id", "origin_run")})
    assert there.card == kept
    assert there.card.origin_run == here.card.run_id
    assert team.client.get_run(there.card.run_id).info.status == "FINISHED"
    assert team.resolve(NAME).version == 2


def test_again_and_back_stores_nothing_twice(mine: PromptStore, team: PromptStore) -> None:
    copy_prompt(mine, "cb", team)
    before = (mine.list(), team.list())
    for _ in range(2):
        assert [c.new for c in copy_prompt(mine, "cb", team)] == [False] * 3
        assert [c.new for c in copy_prompt(team, "cb", mine)] == [False] * 3
    assert (mine.list(), team.list()) == before
    third = PromptStore(f"{mine.tracking_uri[: -len('mlflow.db')]}third.db")
    copy_prompt(team, "cb", third)
    assert [c.new for c in copy_prompt(third, "cb", mine)] == [False] * 3


def test_a_start_that_was_lost_is_said_to_be_unknown(mine: PromptStore, team: PromptStore) -> None:
    """The same number may be another prompt in the other store."""
    delete(mine, "nli/1", force=True)
    (copied,) = copy_prompt(mine, "cb", team)
    assert copied.stored.start == "unknown"


def test_not_to_itself(mine: PromptStore) -> None:
    with pytest.raises(StoreError, match="Both stores are"):
        copy_prompt(mine, "cb", PromptStore(mine.tracking_uri))


def test_a_damaged_prompt_is_not_passed_on(mine: PromptStore, team: PromptStore) -> None:
    (path,) = Path(mine.resolve("nli/1").source.removeprefix("file://")).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"nli/1 is refused.*changed or damaged"):
        copy_prompt(mine, "cb", team)
    assert [prompt.task for prompt in team.list()] == ["mnli", "qqp"]
