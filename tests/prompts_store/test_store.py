import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts_store import PromptStore, StoreError
from prompts_store.files import CARD_FILE, TENSORS_FILE
from prompts_store.versions import TAG
from tests.prompts_store.conftest import FINGERPRINT, make_artifact

NewRun = Callable[[], str]
NAME = "dept-minilm-mnli"


def stored_file(store: PromptStore, ref: str, file: str) -> Path:
    """The file of a version in the folder of an SQLite store."""
    name, version = ref.split("/")
    location = store.client.get_model_version_download_uri(name, version)
    return Path(location.removeprefix("file://")) / file


def test_round_trip(store: PromptStore, new_run: NewRun, cache: Path) -> None:
    artifact, run_id = make_artifact(labels=["yes", "no"], k=16, dev_score=0.1 + 0.2), new_run()
    stored = store.put(artifact, run_id=run_id)
    assert (stored.ref, stored.run_id, stored.aliases) == (f"{NAME}/1", run_id, ("best", "latest"))
    assert type(stored.version) is int
    assert stored.dev_score == artifact.card.dev_score
    for field in ("task", "method", "backbone", "backbone_fingerprint", "family", "d", "m", "r", "s", "metric", "k"):
        assert getattr(stored, field) == getattr(artifact.card, field)
    for field in ("data_source", "data_digest", "start", "created"):
        assert getattr(stored, field) == getattr(artifact.card, field)
    fetched = store.get(stored.ref)
    assert fetched.card.run_id == run_id
    assert fetched.card.labels == ["yes", "no"]
    assert fetched.card.tensors_sha256 == stored.tensors_sha256
    assert all(torch.equal(fetched.tensors[n], t) for n, t in artifact.tensors.items())
    assert store.list() == [stored] == store.find()
    assert not list(cache.iterdir()), "files in a local folder are read in place"


def test_prompt_tuning_has_empty_factors(store: PromptStore, new_run: NewRun) -> None:
    stored = store.put(make_artifact(method="prompt_tuning", r=0, s=0), run_id=new_run())
    assert store.get(stored.ref).tensors["B"].shape == (0, 8)


def test_hub_names(store: PromptStore, new_run: NewRun) -> None:
    stored = store.put(make_artifact(backbone="google-t5/t5-base", task="sample.mnli"), run_id=new_run())
    assert stored.name == "dept-google-t5--t5-base-sample.mnli"
    assert stored.backbone == "google-t5/t5-base"
    assert store.resolve(stored.name) == store.resolve("sample.mnli") == stored


def test_best_and_latest(store: PromptStore, new_run: NewRun) -> None:
    for seed, score in enumerate([0.6, 0.9, 0.9, 0.7]):
        store.put(make_artifact(seed, dev_score=score), run_id=new_run())
    assert [p.aliases for p in store.find(task="mnli")] == [(), ("best",), (), ("latest",)]
    assert store.resolve(NAME).version == store.resolve("mnli").version == store.resolve(f"{NAME}@best").version == 2
    assert store.resolve(f"{NAME}@latest").version == 4
    assert int(store.client.get_model_version_by_alias(NAME, "best").version) == 2


def test_best_compares_like_with_like(store: PromptStore, new_run: NewRun) -> None:
    store.put(make_artifact(0, dev_score=0.99, metric="f1"), run_id=new_run())
    store.put(make_artifact(1, dev_score=0.60), run_id=new_run())
    store.put(make_artifact(2, dev_score=0.50), run_id=new_run())
    store.put(make_artifact(3, dev_score=1.00, k=16), run_id=new_run())
    assert store.resolve(NAME).version == 2
    assert store.resolve(NAME, k=16).version == 4


def test_best_prefers_a_scored_prompt(store: PromptStore, new_run: NewRun) -> None:
    first = store.put(make_artifact(0, dev_score=None), run_id=new_run())
    assert first.aliases == ("best", "latest")
    assert first.dev_score is None
    store.put(make_artifact(1, dev_score=0.1, k=16), run_id=new_run())
    assert store.resolve(NAME).version == store.resolve("mnli").version == 2
    store.put(make_artifact(2, dev_score=None), run_id=new_run())
    assert store.resolve(NAME).version == store.resolve("mnli").version == 2
    store.put(make_artifact(3, dev_score=-0.5, metric="mcc"), run_id=new_run())
    assert store.resolve(NAME).version == 4
    assert store.get(f"{NAME}/1").card.dev_score is None


def test_aliases_none_leaves_best_and_a_chosen_best_is_followed(store: PromptStore, new_run: NewRun) -> None:
    store.put(make_artifact(0, dev_score=0.5), run_id=new_run())
    store.put(make_artifact(1, dev_score=0.9), run_id=new_run(), aliases="none")
    assert store.resolve(NAME).version == 1
    store.client.set_registered_model_alias(NAME, "team-pick", "2")
    assert store.resolve(f"{NAME}@team-pick").version == 2
    assert store.resolve("mnli").version == 1  # the best of the best of its names


def test_put_again_from_the_same_run(store: PromptStore, new_run: NewRun) -> None:
    run_id = new_run()
    first = store.put(make_artifact(), run_id=run_id)
    assert store.put(make_artifact(), run_id=run_id) == first
    assert store.put(make_artifact(seed=1), run_id=run_id).version == 2
    assert store.put(make_artifact(), run_id=new_run()).version == 3


def test_filters(store: PromptStore, new_run: NewRun) -> None:
    other = "f" * 64
    for seed, changes in enumerate(
        [{}, {"task": "cb", "k": 16}, {"backbone_fingerprint": other, "dev_score": 0.9}, {"method": "prompt_tuning"}]
    ):
        store.put(make_artifact(seed, **changes), run_id=new_run())

    def refs(**filters: Any) -> list[str]:
        return [p.ref for p in store.find(**filters)]

    tuning = "prompt_tuning-minilm-mnli/1"
    assert refs() == ["dept-minilm-cb/1", f"{NAME}/1", f"{NAME}/2", tuning]
    assert refs(task="mnli") == [f"{NAME}/1", f"{NAME}/2", tuning]
    assert refs(task="mnli", method="dept", backbone_fingerprint=other) == [f"{NAME}/2"]
    assert refs(k=None) == [f"{NAME}/1", f"{NAME}/2", tuning]
    assert refs(k=16) == ["dept-minilm-cb/1"]
    assert refs(k=4) == refs(task="x") == refs(task="it's") == []
    assert store.resolve(NAME, backbone_fingerprint=FINGERPRINT).version == 1
    assert store.get("mnli", backbone_fingerprint=other).card.dev_score == 0.9
    with pytest.raises(StoreError, match=r"fingerprint eeeeeeeeeeee.*There are: .*minilm aaaaaaaaaaaa"):
        store.resolve("mnli", backbone_fingerprint="e" * 64)
    with pytest.raises(StoreError, match="sources only"):
        store.resolve("cb", k=None)
    with pytest.raises(StoreError, match="fingerprint"):
        store.get(f"{NAME}/1", backbone_fingerprint=other)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("mnli", r"'mnli'.*Near: .*sample\.mnli.*orchestrator pretrain-source --tasks mnli"),
        ("dept-minilm-mnli", "Near: dept-minilm-sample.mnli"),
        ("dept-minilm-sample.mnli/9", r"/9'.*There are: dept-minilm-sample\.mnli/1 \(source"),
        ("dept-minilm-sample.mnli@nobody", "There are: "),
        ("dept-minilm-sample.mnli/latest", "is not a number"),
        ("a/b/c", "is not a number"),
        ("../../etc/passwd", "is not a number"),
        ("x' or name = 'y", "No stored prompt"),
        ("", "No stored prompt"),
        ("\n", "No stored prompt"),
    ],
)
def test_unknown_refs(store: PromptStore, new_run: NewRun, ref: str, message: str) -> None:
    store.put(make_artifact(task="sample.mnli"), run_id=new_run())
    with pytest.raises(StoreError, match=message):
        store.resolve(ref)


def test_empty_store(store: PromptStore) -> None:
    assert store.list() == []
    with pytest.raises(StoreError, match="holds 0"):
        store.get("mnli")


def test_unknown_run(store: PromptStore) -> None:
    with pytest.raises(StoreError, match="not found"):
        store.put(make_artifact(), run_id="0" * 32)
    assert store.client.search_registered_models() == []


def test_upload_that_fails_half_way_is_not_visible(
    store: PromptStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run()

    def break_off(model_id: str, folder: str) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(store.client, "log_model_artifacts", break_off)
    with pytest.raises(StoreError, match="gone"):
        store.put(make_artifact(), run_id=run_id)
    assert store.list() == []
    assert store.client.search_registered_models() == []
    experiment = store.ensure_experiment("runs")
    assert [m.status for m in store.client.search_logged_models([experiment])] == ["FAILED"]
    monkeypatch.undo()
    assert store.put(make_artifact(), run_id=run_id).version == 1


def test_upload_that_damages_a_file_is_refused(
    store: PromptStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = store.client.log_model_artifacts

    def truncate(model_id: str, folder: str) -> None:
        path = Path(folder, TENSORS_FILE)
        path.write_bytes(path.read_bytes()[:-4])
        log(model_id, folder)

    monkeypatch.setattr(store.client, "log_model_artifacts", truncate)
    with pytest.raises(StoreError, match="changed or damaged"):
        store.put(make_artifact(), run_id=new_run())
    assert store.list() == []


def test_version_without_its_tag_is_not_visible(store: PromptStore, new_run: NewRun) -> None:
    stored = store.put(make_artifact(), run_id=new_run())
    half = store.put(make_artifact(1, dev_score=0.9), run_id=new_run())
    store.client.delete_model_version_tag(NAME, str(half.version), TAG)
    assert [p.ref for p in store.list()] == [stored.ref]
    assert store.list()[0].aliases == ("latest",)
    assert store.resolve(NAME).ref == store.resolve("mnli").ref == stored.ref
    with pytest.raises(StoreError, match="/2"):
        store.get(half.ref)


@pytest.mark.parametrize("tags", [{}, {TAG: "a cat, in oil"}, {TAG: '{"task": 3}'}, {TAG: "[]"}, {TAG: "[" * 9999}])
def test_models_of_others_are_left_alone(store: PromptStore, new_run: NewRun, tags: dict[str, str]) -> None:
    store.put(make_artifact(), run_id=new_run())
    store.client.create_registered_model("forecast")
    store.client.create_model_version("forecast", "/somewhere", tags=tags)
    assert [p.name for p in store.list()] == [NAME]
    assert store.resolve("mnli").name == NAME


def test_task_names_are_matched_exactly(store: PromptStore, new_run: NewRun) -> None:
    for task in ("a_b", "a-b", "a.b", "A_b"):
        store.put(make_artifact(task=task), run_id=new_run())
    assert [p.task for p in store.find(task="a_b")] == ["a_b"]
    assert store.find(task="%") == []


def test_the_tag_stays_within_mlflows_limit(store: PromptStore, new_run: NewRun) -> None:
    """5,000 characters, the least of all versions and stores of MLflow."""
    long = dict.fromkeys(("metric", "data_source", "data_digest"), "é" * 1000)
    stored = store.put(make_artifact(task="t" * 200, backbone="b" * 1000, **long), run_id=new_run())
    assert store.list() == [stored]
    assert len(store.client.get_model_version(stored.name, "1").tags[TAG]) < 5000


def test_listing_needs_no_torch(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    code = (
        "import sys; from prompts_store import PromptStore\n"
        f"print([p.ref for p in PromptStore({store.tracking_uri!r}).list()], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout == f"[{ref!r}] False\n"


def test_tampered_tensors(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    path = stored_file(store, ref, TENSORS_FILE)
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{ref} is refused.*changed or damaged"):
        store.get(ref)


def test_swapped_artifact(store: PromptStore, new_run: NewRun) -> None:
    """Whole files, but those of another version: only the registry's own hash can tell."""
    created = "2026-01-01T00:00:00+00:00"
    first = store.put(make_artifact(created=created), run_id=new_run()).ref
    second = store.put(make_artifact(1, created=created), run_id=new_run()).ref
    for file in (CARD_FILE, TENSORS_FILE):
        shutil.copyfile(stored_file(store, first, file), stored_file(store, second, file))
    with pytest.raises(StoreError, match="is not the one that was stored: its card says tensors_sha256"):
        store.get(second)


def test_card_for_another_backbone(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    path = stored_file(store, ref, CARD_FILE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backbone_fingerprint": "e" * 64}))
    with pytest.raises(StoreError, match="card says backbone_fingerprint='eeee"):
        store.get(ref)


@pytest.mark.parametrize("change", [{"labels": ["a", "b", "c"]}, {"alpha1": 0.1}, {"task_version": 2}])
def test_card_changed_in_what_the_registry_does_not_repeat(
    store: PromptStore, new_run: NewRun, change: dict[str, Any]
) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    path = stored_file(store, ref, CARD_FILE)
    path.write_text(json.dumps(json.loads(path.read_text()) | change, indent=2))
    with pytest.raises(StoreError, match=rf"{ref} is refused.*card\.json was changed or damaged"):
        store.get(ref)


def test_card_for_another_width(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    path = stored_file(store, ref, CARD_FILE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"d": 16}))
    with pytest.raises(StoreError, match=r"has shape .*, but the card's d=16"):
        store.get(ref)


@pytest.mark.parametrize("change", [{"task": "../../etc"}, {"backbone": "../minilm"}, {"run_id": ".."}])
def test_card_with_a_path_for_a_name(store: PromptStore, new_run: NewRun, change: dict[str, str]) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    path = stored_file(store, ref, CARD_FILE)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StoreError, match=rf"is refused.*is not valid: {next(iter(change))}: .*\.\."):
        store.get(ref)


def test_registry_with_a_path_for_a_hash(store: PromptStore, new_run: NewRun) -> None:
    stored = store.put(make_artifact(), run_id=new_run())
    tag = json.loads(store.client.get_model_version(NAME, "1").tags[TAG])
    for change in ({"tensors_sha256": "../" * 20 + "etc/passwd"}, {"card_sha256": "../x"}):
        store.client.set_model_version_tag(NAME, "1", TAG, json.dumps(tag | change))
        assert store.list() == []
    store.client.set_model_version_tag(NAME, "1", TAG, json.dumps(tag))
    assert store.list() == [stored]


def test_pickle_in_place(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    stored_file(store, ref, TENSORS_FILE).write_bytes(pickle.dumps({TAG: 1}))
    with pytest.raises(StoreError, match="pickle"):
        store.get(ref)


def test_missing_file(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    stored_file(store, ref, TENSORS_FILE).unlink()
    with pytest.raises(StoreError, match=f"{TENSORS_FILE} cannot be fetched"):
        store.get(ref)


def test_the_same_prompt_twice_at_once_is_one(store: PromptStore, new_run: NewRun) -> None:
    """A retry that starts while the first attempt is still at work."""
    run_id, artifact = new_run(), make_artifact()
    with ThreadPoolExecutor(4) as pool:
        stored = [pool.submit(store.put, artifact, run_id=run_id) for _ in range(4)]
        assert {future.result().tensors_sha256 for future in stored} == {store.list()[0].tensors_sha256}
    (only,) = store.list()
    assert store.resolve(f"{NAME}@best") == only
    store.get(only.ref)
    assert len(store.client.search_logged_models([store.ensure_experiment("runs")])) == 1


def test_learned_elsewhere(store: PromptStore) -> None:
    artifact = make_artifact(origin_run="a" * 32)
    stored = store.put(artifact, run_id=None)
    assert (stored.origin_run, stored.learned_by) == ("a" * 32, "a" * 32)
    run = store.client.get_run(stored.run_id)
    assert (run.info.status, run.data.tags["origin_run"]) == ("FINISHED", "a" * 32)
    assert store.get(stored.ref).card.run_id == stored.run_id
    assert store.put(artifact, run_id=None) == stored
    assert store.put(make_artifact(), run_id=None) == stored  # from nobody knows where, but the same tensors
    other = store.put(make_artifact(1), run_id=None)
    assert store.put(make_artifact(1), run_id=None) == other
    assert other.version == 2
    assert len(store.client.search_runs([store.ensure_experiment("brought")])) == 2


def test_run_of_a_killed_import_is_taken_up_again(store: PromptStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.client, "set_terminated", killed)
    with pytest.raises(KeyboardInterrupt):
        store.put(make_artifact(), run_id=None)
    monkeypatch.undo()
    store.put(make_artifact(), run_id=None)
    (run,) = store.client.search_runs([store.ensure_experiment("brought")])
    assert run.info.status == "FINISHED"


def test_several_at_once(store: PromptStore, new_run: NewRun) -> None:
    runs = [new_run() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = [
            pool.submit(store.put, make_artifact(seed, dev_score=seed / 10), run_id=run)
            for seed, run in enumerate(runs)
        ]
        versions = sorted(future.result().version for future in futures)
    assert versions == [1, 2, 3, 4, 5, 6]
    assert store.resolve(f"{NAME}@best").dev_score == 0.5
    assert all(store.get(p.ref).card.tensors_sha256 == p.tensors_sha256 for p in store.list())


def test_store_travels_by_its_address(store: PromptStore, new_run: NewRun) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    assert pickle.loads(pickle.dumps(store)).resolve(ref).ref == ref


def test_two_stores_in_one_process(store: PromptStore, new_run: NewRun, tmp_path: Path, empty_database: Path) -> None:
    shutil.copyfile(empty_database, tmp_path / "other.db")
    other = PromptStore(f"sqlite:///{tmp_path / 'other.db'}")
    run_id = other.client.create_run(other.ensure_experiment("runs")).info.run_id
    ref = other.put(make_artifact(), run_id=run_id).ref
    assert store.list() == []
    assert store.put(other.get(ref), run_id=new_run()).tensors_sha256 == other.resolve(ref).tensors_sha256
