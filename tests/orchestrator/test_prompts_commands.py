"""`orchestrator prompts` beyond list and show of ordinary prompts."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app, main
from orchestrator.commands.prompts import find_prompts, list_prompts, show_prompt, similar_prompts
from orchestrator.commands.upkeep import (
    collect_rubbish,
    delete_prompt,
    promote_prompt,
    pull_prompt,
    push_prompt,
    rename_prompt,
    verify_prompts,
)
from orchestrator.errors import UsageError
from prompts_store import Artifact, PromptStore, StoreError
from tests.orchestrator.helpers import console
from tests.prompts_store.conftest import make_artifact, make_card

MNLI, CB = "dept-minilm-mnli", "dept-minilm-cb"
UNKNOWN = dict.fromkeys(("dev_score", "alpha1", "alpha2", "steps", "batch", "seed", "rows_train"))


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    """The store that commands in this process use, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return PromptStore(tracking_uri)


@pytest.fixture
def run_id(store: PromptStore) -> str:
    return str(store.client.create_run(store.ensure_experiment("runs"), run_name="mnli").info.run_id)


def test_what_is_unknown_is_shown_as_a_dash(store: PromptStore, run_id: str) -> None:
    store.put(Artifact(make_card(**UNKNOWN), make_artifact().tensors), run_id=run_id)
    to, printed = console()
    list_prompts(None, False, to)
    (row,) = [line for line in printed.getvalue().splitlines() if f"{MNLI}/1" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1:5] == ["best, latest", "all", "-", "scratch"]
    to, printed = console()
    show_prompt("mnli", to)
    text = printed.getvalue()
    assert "dev -, test not tested" in text
    assert "on - rows" in text
    assert "best at step -, batch -, α1=-, α2=-, seed -" in text


@pytest.fixture
def filled(store: PromptStore, run_id: str) -> PromptStore:
    """Two versions of a source, one of a sample source, and a target that started from the first."""
    store.put(make_artifact(0, dev_score=0.5), run_id=run_id)
    store.put(make_artifact(1, dev_score=0.7), run_id=run_id)
    store.put(make_artifact(2, task="sample.mnli", dev_score=0.9), run_id=run_id)
    store.put(make_artifact(3, task="cb", k=16, dev_score=0.8, start=f"{MNLI}/1"), run_id=run_id)
    return store


@pytest.mark.usefixtures("filled")
class TestFind:
    def found(self, **wanted: object) -> list[str]:
        to, _ = console()
        nothing = dict.fromkeys(("task", "method", "backbone", "k", "min_score", "text"))
        return [prompt.ref for prompt in find_prompts(**(nothing | wanted), console=to)]

    def test_the_best_comes_first(self) -> None:
        assert self.found() == ["dept-minilm-sample.mnli/1", f"{CB}/1", f"{MNLI}/2", f"{MNLI}/1"]

    def test_by_each_and_by_all(self) -> None:
        assert self.found(task="mnli") == ["dept-minilm-sample.mnli/1", f"{MNLI}/2", f"{MNLI}/1"]
        assert self.found(method="prompt_tuning") == []
        assert len(self.found(backbone="minilm")) == 4
        assert self.found(backbone="t5-base") == []
        assert self.found(k="16") == [f"{CB}/1"]
        assert len(self.found(k="source")) == 3
        assert self.found(min_score=0.7) == ["dept-minilm-sample.mnli/1", f"{CB}/1", f"{MNLI}/2"]
        assert self.found(text="MINILM-M") == [f"{MNLI}/2", f"{MNLI}/1"]
        assert self.found(task="mnli", method="dept", backbone="minilm", k="source", min_score=0.6, text="-mnli") == [
            f"{MNLI}/2"
        ]

    @pytest.mark.parametrize("k", ["0", "-3", "many", "1.5", ""])
    def test_k_that_is_none(self, k: str) -> None:
        with pytest.raises(UsageError, match=f"k is '{k}'"):
            self.found(k=k)

    def test_nothing_found_says_so(self) -> None:
        to, printed = console()
        find_prompts("x", None, None, None, None, None, to)
        assert printed.getvalue() == "no stored prompt is like that: `orchestrator prompts list --all` shows all\n"


def test_similar(filled: PromptStore, run_id: str) -> None:
    filled.put(make_artifact(3, task="rte"), run_id=run_id)
    to, printed = console()
    found = similar_prompts("cb", "mean", 2, to)
    assert found[0][0].ref == "dept-minilm-rte/1"
    assert len(found) == 2
    assert "1.000" in printed.getvalue()
    assert CliRunner().invoke(app, ["prompts", "similar", "cb", "--measure", "cosine"]).exit_code == 2


def test_show_follows_a_start_through_a_rename_and_a_deletion(filled: PromptStore) -> None:
    to, printed = console()
    rename_prompt(MNLI, "nli", to)
    show_prompt("cb", to)
    assert "nli/1 <- scratch" in printed.getvalue()
    delete_prompt("nli/1", True, lambda _: True, to)
    show_prompt("cb", to)
    assert f"{MNLI}/1 (not in this store)" in printed.getvalue()
    assert filled.resolve("nli").version == 2


def test_promote_and_back(filled: PromptStore) -> None:
    to, printed = console()
    assert promote_prompt(f"{MNLI}/1", "best", False, to).ref == f"{MNLI}/1"
    assert f"it stays so until `orchestrator prompts promote {MNLI} --auto`" in printed.getvalue()
    assert filled.resolve("mnli").version == 1
    assert promote_prompt(MNLI, "best", True, to).ref == f"{MNLI}/2"
    with pytest.raises(UsageError, match="not about 'mine'"):
        promote_prompt(MNLI, "mine", True, to)


def test_delete_asks(filled: PromptStore) -> None:
    to, printed = console()
    asked: list[str] = []
    assert delete_prompt(f"{MNLI}/2", False, lambda question: bool(asked.append(question)), to) is None
    assert asked == [f"Delete {MNLI}/2 and its files? They cannot be brought back."]
    assert "nothing was deleted" in printed.getvalue()
    with pytest.raises(StoreError, match=f"{CB}/1 started from"):
        delete_prompt(f"{MNLI}/1", False, lambda _: pytest.fail("asked before it was clear"), to)
    assert len(filled.list()) == 4
    for answer, left in (("n", 4), ("y", 3)):
        CliRunner().invoke(app, ["prompts", "delete", f"{MNLI}/2"], input=f"{answer}\n")
        assert len(filled.list()) == left
    CliRunner().invoke(app, ["prompts", "delete", f"{MNLI}/1", "--yes", "--force"])
    assert len(filled.list()) == 2


def test_verify_ends_with_1_if_anything_is_wrong(
    filled: PromptStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to, printed = console()
    assert verify_prompts(None, to) == []
    assert "4 of 4 versions are whole" in printed.getvalue()
    (path,) = Path(filled.resolve(f"{MNLI}/1").source.removeprefix("file://")).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    for arguments, code in (([], 1), ([f"{MNLI}/1"], 1), (["cb"], 0), (["nobody"], 2)):
        monkeypatch.setattr(sys, "argv", ["orchestrator", "prompts", "verify", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code, arguments
    text = capsys.readouterr().out.replace("\n", " ")
    assert f"{MNLI}/1: The stored prompt {MNLI}/1 is refused." in text
    assert "3 of 4 versions are whole" in text


def test_gc(filled: PromptStore) -> None:
    shutil.rmtree(filled.resolve(f"{MNLI}/2").source.removeprefix("file://"))
    for dry_run, left in ((True, 4), (False, 3)):
        to, printed = console()
        collect_rubbish(dry_run, 60, to)
        assert f"{MNLI}/2: a version without its card.json and prompt.safetensors" in printed.getvalue()
        assert ("would be" in printed.getvalue()) == dry_run
        assert len(filled.list()) == left


def test_push_and_pull(filled: PromptStore, tmp_path: Path, empty_database: Path) -> None:
    shutil.copyfile(empty_database, tmp_path / "team.db")
    team = f"sqlite:///{tmp_path / 'team.db'}"
    to, printed = console()
    assert [one.new for one in push_prompt("cb", team, to)] == [True, True]
    assert f"{MNLI}/1: stored as {MNLI}/1" in printed.getvalue()
    assert f"2 new in {team}" in printed.getvalue()
    to, printed = console()
    assert [one.new for one in push_prompt("cb", team, to)] == [False, False]
    assert "was there already" in printed.getvalue()
    assert [one.new for one in pull_prompt("cb", team, to)] == [False, False]
    delete_prompt(f"{CB}/1", False, lambda _: True, to)
    assert [one.stored.ref for one in pull_prompt("cb", team, to)] == [f"{MNLI}/1", f"{CB}/2"]
    assert filled.resolve(f"{CB}/2").start == f"{MNLI}/1"
    with pytest.raises(StoreError, match=r"no store .*nowhere\.db to pull from"):
        pull_prompt("cb", f"sqlite:///{tmp_path}/nowhere.db", to)
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.parametrize("command", ["find", "similar", "promote", "rename", "delete", "gc", "verify", "push", "pull"])
def test_help(command: str) -> None:
    result = CliRunner().invoke(app, ["prompts", command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "arguments",
    [["similar", "mnli"], ["promote", "mnli"], ["rename", "a", "b"], ["delete", "a/1"], ["gc"], ["verify"]],
    ids=lambda arguments: arguments[0],
)
def test_without_a_store_nothing_is_made(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = CliRunner().invoke(app, ["prompts", *arguments])
    assert isinstance(result.exception, StoreError)
    assert "no prompts are stored in" in str(result.exception)
    assert not list(tmp_path.iterdir())
