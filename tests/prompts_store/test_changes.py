"""Promote, rename and delete, on a real registry."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prompts_store import PromptStore, StoreError
from prompts_store.changes import delete, promote, promote_by_score, rename
from prompts_store.lineage import ancestors, children
from prompts_store.versions import TAG
from tests.prompts_store.conftest import make_artifact

NewRun = Callable[[], str]
NAME, CB = "dept-minilm-mnli", "dept-minilm-cb"


@pytest.fixture
def three(store: PromptStore, new_run: NewRun) -> PromptStore:
    """Three versions of a source, and a target that started from the second, which is the best."""
    for seed, score in enumerate((0.5, 0.7, 0.6)):
        store.put(make_artifact(seed, dev_score=score), run_id=new_run())
    store.put(make_artifact(task="cb", k=16, start=f"{NAME}/2"), run_id=new_run())
    return store


def files(store: PromptStore) -> list[Path]:
    folder = Path(store.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_chosen_best_survives_better_prompts(three: PromptStore, new_run: NewRun) -> None:
    assert promote(three, f"{NAME}/1").aliases == ("best",)
    better = three.put(make_artifact(7, dev_score=0.99), run_id=new_run())
    assert better.aliases == ("latest",)
    assert three.resolve(NAME).version == three.resolve("mnli").version == 1
    assert three.resolve("mnli", k=None, method="dept").version == 1
    assert promote_by_score(three, NAME).version == better.version
    assert promote_by_score(three, NAME).version == better.version
    three.put(make_artifact(8, dev_score=0.995), run_id=new_run())
    assert three.resolve(NAME).version == 5


def test_a_choice_made_between_another_process_reading_and_writing_wins(
    three: PromptStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`put` has already picked its own version when a person promotes another."""
    write = three.client.set_registered_model_alias

    def promoted_meanwhile(name: str, alias: str, version: str) -> None:
        monkeypatch.undo()
        promote(PromptStore(three.tracking_uri), f"{NAME}/1")
        write(name, alias, version)

    monkeypatch.setattr(three.client, "set_registered_model_alias", promoted_meanwhile)
    three.put(make_artifact(7, dev_score=0.99), run_id=new_run())
    assert three.resolve(f"{NAME}@best").version == 1


def test_other_aliases(three: PromptStore) -> None:
    assert promote(three, f"{NAME}@latest", "team-pick").aliases == ("team-pick", "latest")
    assert three.resolve(f"{NAME}@team-pick").version == 3
    assert three.resolve(NAME).version == 2


@pytest.mark.parametrize("alias", ["latest", "Latest", "v3", "a b", "", "a/b", "x" * 101])
def test_aliases_that_cannot_be(three: PromptStore, alias: str) -> None:
    with pytest.raises(StoreError, match=f"The alias {alias!r} cannot be given"):
        promote(three, NAME, alias)


def test_rename_keeps_references_and_what_comes_later(three: PromptStore, new_run: NewRun) -> None:
    promote(three, f"{NAME}/1")
    assert [p.ref for p in rename(three, NAME, "nli")] == ["nli/1", "nli/2", "nli/3"]
    assert three.resolve("nli").ref == three.resolve("mnli").ref == three.resolve(NAME).ref == "nli/1"
    assert three.get(f"{NAME}/2").card.dev_score == 0.7
    assert three.put(make_artifact(7, dev_score=0.99), run_id=new_run()).ref == "nli/4"
    assert [p.name for p in rename(three, NAME, "nli.team")] == ["nli.team"] * 4
    for name in (NAME, "nli", "nli.team"):
        assert three.resolve(name).ref == "nli.team/1"
    (target,) = three.find(task="cb")
    assert [p.ref for p in ancestors(three, target)] == ["nli.team/2"]
    assert children(three, three.resolve("nli/2")) == [target]
    rename(three, "nli.team", NAME)
    assert three.resolve("nli").ref == f"{NAME}/1"
    assert ancestors(three, target)[0].ref == f"{NAME}/2"


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("a/b", "cannot be a name"),
        ("..", "cannot be a name"),
        ("-rf", "cannot be a name"),
        ("it's", "cannot be a name"),
        ("", "cannot be a name"),
        ("x" * 201, "cannot be a name"),
        (CB, "is taken"),
        ("cb", "is taken"),
        ("forecast", "is taken"),
    ],
)
def test_names_that_cannot_be(three: PromptStore, new: str, message: str) -> None:
    three.client.create_registered_model("forecast")
    before = three.list()
    with pytest.raises(StoreError, match=message):
        rename(three, NAME, new)
    assert three.list() == before


def test_a_former_name_is_taken(three: PromptStore) -> None:
    rename(three, NAME, "nli")
    with pytest.raises(StoreError, match="is taken"):
        rename(three, CB, NAME)
    with pytest.raises(StoreError, match="No stored prompt answers to 'nobody'"):
        rename(three, "nobody", "somebody")


def test_delete_takes_version_and_files(three: PromptStore, new_run: NewRun) -> None:
    assert len(files(three)) == 8
    promote(three, f"{NAME}/1")
    assert delete(three, f"{NAME}/1").ref == f"{NAME}/1"
    assert len(files(three)) == 6
    assert [(p.version, p.aliases) for p in three.find(task="mnli")] == [(2, ("best",)), (3, ("latest",))]
    with pytest.raises(StoreError, match="/1"):
        three.get(f"{NAME}/1")
    delete(three, f"{NAME}/3")
    assert three.put(make_artifact(9), run_id=new_run()).version == 4


def test_delete_refuses_what_others_started_from(three: PromptStore) -> None:
    rename(three, NAME, "nli")
    with pytest.raises(StoreError, match=f"{CB}/1 started from nli/2: delete them first, or force it"):
        delete(three, "nli/2")
    assert len(files(three)) == 8
    delete(three, "nli/2", force=True)
    (target,) = three.find(task="cb")
    assert ancestors(three, target) == []
    delete(three, target.ref)
    delete(three, "nli/1")
    delete(three, "nli/3")
    assert three.list() == []
    assert files(three) == []


def test_delete_wants_to_know_which(three: PromptStore) -> None:
    for ref in (NAME, "mnli", f"{NAME}@best"):
        with pytest.raises(StoreError, match="does not say which version"):
            delete(three, ref)


def test_delete_leaves_files_alone_that_another_version_has(three: PromptStore) -> None:
    model = three.client.get_logged_model(three.resolve(f"{NAME}/3").model_id)
    three.client.create_registered_model("copied")
    three.client.create_model_version("copied", model.artifact_location)
    delete(three, f"{NAME}/3")
    assert len(files(three)) == 8


def test_delete_follows_no_version_to_a_folder_of_its_own_choice(three: PromptStore, tmp_path: Path) -> None:
    """A version's tags and source are anyone's to write where a registry is shared."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    tag = three.client.get_model_version(CB, "1").tags[TAG]
    model_id = three.resolve(f"{CB}/1").model_id
    three.client.create_registered_model("trap")
    foreign = three.client.create_logged_model(three.ensure_experiment("runs"), "theirs", model_type="forecast")
    three.client.create_model_version("trap", str(mine), tags={TAG: tag.replace(model_id, foreign.model_id)})
    delete(three, "trap/1")
    assert (mine / "thesis.txt").exists()
    assert three.client.get_logged_model(foreign.model_id)
