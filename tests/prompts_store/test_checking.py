from collections.abc import Callable
from pathlib import Path

import pytest

from prompts_store import PromptStore, StoreError
from prompts_store.checking import Checked, verify
from prompts_store.files import CARD_FILE, TENSORS_FILE
from prompts_store.versions import TAG
from tests.prompts_store.conftest import make_artifact

NAME = "dept-minilm-mnli"


def test_every_version_is_checked_and_each_reason_given(store: PromptStore, new_run: Callable[[], str]) -> None:
    stored = [store.put(make_artifact(seed), run_id=new_run()) for seed in range(5)]
    assert list(verify(store)) == [Checked(prompt.ref, None) for prompt in stored]
    places = [Path(prompt.source.removeprefix("file://")) for prompt in stored]
    data = bytearray((places[1] / TENSORS_FILE).read_bytes())
    data[-1] ^= 1
    (places[1] / TENSORS_FILE).write_bytes(data)
    (places[2] / CARD_FILE).unlink()
    (places[3] / CARD_FILE).write_text((places[3] / CARD_FILE).read_text() + " ")
    store.client.set_model_version_tag(NAME, "5", TAG, "{}")
    problems = {checked.ref: checked.problem for checked in verify(store)}
    assert problems[f"{NAME}/1"] is None
    assert "prompt.safetensors was changed or damaged" in str(problems[f"{NAME}/2"])
    assert "card.json cannot be fetched" in str(problems[f"{NAME}/3"])
    assert "card.json was changed or damaged" in str(problems[f"{NAME}/4"])
    assert "tag cannot be read" in str(problems[f"{NAME}/5"])
    assert [checked.problem for checked in verify(store, f"{NAME}/1")] == [None]
    with pytest.raises(StoreError, match="nobody"):
        list(verify(store, "nobody"))


def test_an_empty_store_has_nothing_wrong(store: PromptStore) -> None:
    store.client.create_registered_model("forecast")
    store.client.create_model_version("forecast", "/somewhere")
    assert list(verify(store)) == []
