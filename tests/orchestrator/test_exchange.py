"""`orchestrator prompts import|export`."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.exchange import export_prompt, import_prompt
from orchestrator.errors import UsageError
from pipelines.errors import PipelineError
from pipelines.folders import read_adapter
from prompts_store import PromptStore
from tests.orchestrator.helpers import console
from tests.pipelines.conftest import shared
from tests.pipelines.test_folders import released
from tests.pipelines.tiny import build_model, build_tokenizer

__all__ = ["shared"]


@pytest.fixture(autouse=True)
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return PromptStore(tracking_uri)


@pytest.fixture
def backbone(tmp_path: Path) -> str:
    folder = tmp_path / "small-t5"
    build_model("t5").save_pretrained(folder)
    build_tokenizer("encoder-decoder").save_pretrained(folder)
    return str(folder)


def test_an_imported_prompt_is_stored_whole(store: PromptStore, backbone: str, tmp_path: Path) -> None:
    folder = released(tmp_path / "superglue-wic")
    to, printed = console()
    stored = import_prompt(folder, None, backbone, False, to)
    assert stored.ref == "dept-small-t5-wic/1"
    assert "stored dept-small-t5-wic/1: dept, m=4, r=3, s=20, gamma=4.619; its rates" in printed.getvalue()
    artifact = store.get("wic")
    factors = read_adapter(folder).factors
    assert all(torch.equal(artifact.tensors[name], getattr(factors, name)) for name in ("prompt", "A", "B"))
    card = artifact.card
    assert (card.dev_score, card.alpha1, card.start, card.data_source) == (
        None,
        None,
        "unknown",
        "imported from superglue-wic",
    )
    (run,) = store.client.search_runs([store.ensure_experiment("import")])
    assert run.info.status == "FINISHED"
    assert run.data.tags["prompt"] == stored.ref

    export_prompt("wic", tmp_path / "out", to)
    again = read_adapter(tmp_path / "out").factors
    assert again.gamma == factors.gamma
    assert torch.equal(again.prompt, factors.prompt)
    assert json.loads((tmp_path / "out" / "card.json").read_text())["task"] == "wic"


def test_prompts_alone_are_another_method(store: PromptStore, backbone: str, tmp_path: Path) -> None:
    folder = released(tmp_path / "mine", missing=("prompt_encoder.lora_embedding_A",))
    with pytest.raises(PipelineError, match="--prompt-only imports it as plain prompt tuning"):
        import_prompt(folder, "rte", backbone, False, console()[0])
    assert not store.list()
    stored = import_prompt(folder, "rte", backbone, True, console()[0])
    assert (stored.ref, stored.method) == ("prompt_tuning-small-t5-rte/1", "prompt_tuning")


def test_what_is_not_said(store: PromptStore, backbone: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder's name 'mine' is no task of the catalogue: say .* by --task"):
        import_prompt(released(tmp_path / "mine"), None, backbone, False, console()[0])
    folder = released(tmp_path / "wic", base_model_name_or_path="")
    with pytest.raises(UsageError, match="does not say its backbone: give --backbone"):
        import_prompt(folder, None, None, False, console()[0])
    with pytest.raises(UsageError, match="has d=16, the backbone minilm has d=384: give its own"):
        import_prompt(folder, None, "minilm", False, console()[0])
    assert not store.list()
    assert not store.client.search_experiments(filter_string="name = 'import'")


def test_the_released_artifacts_import(store: PromptStore, shared: Path, tmp_path: Path) -> None:
    """The three of the DePT release, by the command line, on a T5 of their width with T5's own vocabulary."""
    released_folder, tokenizer = shared / "reference" / "dept-t5-base", shared / "models" / "t5-tokenizer"
    if not released_folder.is_dir() or not tokenizer.is_dir():
        pytest.skip(f"{released_folder} or {tokenizer} is absent")
    sizes = {"d_model": 768, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}
    T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(tmp_path / "t5")
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(tmp_path / "t5")
    runner, backbone = CliRunner(), ["--backbone", str(tmp_path / "t5")]
    for task, sizes_found in (("cola", (80, 15)), ("sst2", (60, 30))):
        done = runner.invoke(app, ["prompts", "import", str(released_folder / task), *backbone])
        assert done.exit_code == 0, done.output
        card = store.get(task).card
        assert (card.m, card.r, card.s, card.d, card.method) == (*sizes_found, 256, 768, "dept")
    alone = ["prompts", "import", str(released_folder / "superglue-wic"), *backbone]
    assert "holds the prompt alone" in str(runner.invoke(app, alone).exception)
    assert runner.invoke(app, [*alone, "--prompt-only"]).exit_code == 0
    assert [p.ref for p in store.list()] == ["dept-t5-cola/1", "dept-t5-sst2/1", "prompt_tuning-t5-wic/1"]
