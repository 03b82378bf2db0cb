"""Poisoned artifacts, by the command line: refused with the reason, exit code 2, and nothing written anywhere."""

import hashlib
import pickle
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.cli import main
from pipelines.backbone import describe_backbone
from prompts_store import PromptStore, save_artifact
from prompts_store.files import CARD_FILE, TENSORS_FILE
from tests.pipelines.test_folders import released
from tests.prompts_store.conftest import make_artifact

pytestmark = pytest.mark.timeout(120)
REF = "dept-minilm-mnli/1"


@dataclass
class Place:
    """A store with one prompt for the real backbone, the same number of an empty one, and a folder to work in."""

    folder: Path
    store: PromptStore
    other: PromptStore
    files: Path

    def poison(self, name: str) -> None:
        POISONS[name][0](self)

    def everything(self) -> dict[str, str]:
        """All files but the cache, by their hash; of the databases, all rows."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix == ".db":
                with sqlite3.connect(path) as database:
                    found[str(path)] = hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()
            elif path.is_file() and "cache" not in path.parts:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found


@pytest.fixture(scope="module")
def sizes() -> dict[str, Any]:
    info = describe_backbone("minilm")
    return {"d": info.d, "backbone_fingerprint": info.fingerprint}


@pytest.fixture
def place(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, sizes: dict[str, Any]) -> Place:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    for name in ("store", "other"):
        (tmp_path / name).mkdir()
        shutil.copyfile(empty_database, tmp_path / name / "mlflow.db")
    monkeypatch.chdir(tmp_path / "store")
    store, other = (PromptStore(f"sqlite:///{tmp_path}/{name}/mlflow.db") for name in ("store", "other"))
    run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
    stored = store.put(make_artifact(**sizes), run_id=run)
    assert stored.ref == REF
    return Place(tmp_path, store, other, Path(stored.source.removeprefix("file://")))


def flip_a_bit(place: Place) -> None:
    path = place.files / TENSORS_FILE
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


class Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was-run"),)


def pickle_instead(place: Place) -> None:
    (place.files / TENSORS_FILE).write_bytes(pickle.dumps(Code()))


def replace_whole(folder: Path, seed: int = 0, **changes: Any) -> None:
    """Put another artifact there, whole in itself."""
    shutil.rmtree(folder, ignore_errors=True)
    save_artifact(make_artifact(seed, **changes), folder)


def other_backbone(place: Place) -> None:
    path = place.files / CARD_FILE
    fingerprint = place.store.resolve(REF).backbone_fingerprint
    path.write_text(path.read_text().replace(fingerprint, "f" * 64))


def other_width(place: Place) -> None:
    replace_whole(place.files, backbone_fingerprint=place.store.resolve(REF).backbone_fingerprint, d=12)


def path_upwards(place: Place) -> None:
    stored = place.store.resolve(REF)
    replace_whole(place.folder / "elsewhere", 1, d=stored.d, backbone_fingerprint=stored.backbone_fingerprint)
    upwards = f"file://{place.folder}/store/mlartifacts/../../elsewhere"
    with sqlite3.connect(place.folder / "store" / "mlflow.db") as database:
        database.execute("UPDATE model_versions SET source = ?, storage_location = ?", (upwards, upwards))


POISONS: dict[str, tuple[Callable[[Place], None], str]] = {
    "a bit flipped": (flip_a_bit, "was changed or damaged: its SHA-256 is"),
    "a pickle": (pickle_instead, "It looks like a pickle, which is never opened"),
    "another backbone": (other_backbone, f"its card says backbone_fingerprint='{'f' * 64}', the registry"),
    "another d": (other_width, "its card says d=12, the registry 384"),
    "a path with ..": (path_upwards, "elsewhere is not the one that was stored"),
}
COMMANDS = {
    "show": ["prompts", "show", REF],
    "export": ["prompts", "export", REF, "out"],
    "push": ["prompts", "push", REF, "--to", "sqlite:///../other/mlflow.db"],
    "pull": ["prompts", "pull", REF, "--from", "sqlite:///../store/mlflow.db"],
    "fewshot": ["fewshot", "--target", "cb", "--k", "4", "--data", "sample", "--max-length", "32", "--from", "mnli"],
}


def run(*arguments: str) -> int:
    """The command line in this process; returns its exit code."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["orchestrator", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_prompt_is_refused_by_every_command(
    poison: str, place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.poison(poison)
    before = place.everything()
    for name, arguments in COMMANDS.items():
        monkeypatch.chdir(place.folder / ("other" if name == "pull" else "store"))
        assert run(*arguments) == 2, name
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert lines[-1].startswith(f"error: The stored prompt {REF} is refused. "), name
        assert POISONS[poison][1] in lines[-1], name
        assert "Traceback" not in said.err + said.out
        assert place.everything() == before, name
    monkeypatch.chdir(place.folder / "store")
    for arguments in (["prompts", "verify"], ["prompts", "verify", REF]):
        assert run(*arguments) == 1
        said = capsys.readouterr()
        assert POISONS[poison][1] in said.out
        assert "0 of 1 versions are whole" in said.out
    assert run("tasks", "show", "cb", "--data", "sample") == 0
    assert f"{REF}: cannot be used. The stored prompt {REF} is refused." in " ".join(capsys.readouterr().out.split())
    assert place.everything() == before
    assert place.other.list() == []


def bad_byte(folder: Path) -> None:
    path = folder / "adapter_model.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def hostile_pickle(folder: Path) -> None:
    torch.save({"prompt_embeddings": Code()}, folder / "adapter_model.bin")


IMPORTS: dict[str, tuple[Callable[[Path], Any], list[str], str]] = {
    "a byte changed": (bad_byte, [], "it is damaged, as the checksum of its part adapter_model/data/"),
    "a pickle that runs code": (hostile_pickle, [], "holds more than tensors, which is never unpickled"),
    "another d": (lambda _: None, [], "has d=16, the backbone minilm has d=384: give its own"),
    "a backbone with ..": (lambda _: None, ["--backbone", "../../x"], "'../../x'"),
    "a task with ..": (lambda _: None, ["--task", "../../x"], "no task file '../../x'"),
}


@pytest.mark.parametrize("poison", IMPORTS)
def test_a_poisoned_folder_is_not_imported(poison: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    change, more, reason = IMPORTS[poison]
    folder = released(place.folder / "wic", base_model_name_or_path="minilm")
    change(folder)
    before = place.everything()
    assert run("prompts", "import", str(folder), *more) == 2
    said = capsys.readouterr()
    assert reason in said.err.splitlines()[-1]
    assert "Traceback" not in said.err + said.out
    assert place.everything() == before


def test_a_prompt_of_another_backbone_is_no_start(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = place.store.resolve(REF).run_id
    other = place.store.put(make_artifact(task="qqp", backbone="other"), run_id=run_id)
    before = place.everything()
    for start in ("qqp", other.ref):
        assert run(*COMMANDS["fewshot"][:-1], start) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "the backbone with fingerprint" in said
        assert f"{other.ref} (source, backbone other aaaaaaaaaaaa)" in said
    assert place.everything() == before
