import csv
from pathlib import Path

import pytest

from orchestrator.commands.compare import compare, read_comparison
from orchestrator.errors import UsageError
from orchestrator.reading import Experiment, experiments, right_page, ui_command
from orchestrator.recorder import KIND, STATE
from prompts_store import PromptStore
from tasks import TaskError
from tests.orchestrator.helpers import Final, console, record
from tests.prompts_store.conftest import make_artifact

ZERO_SHOT = Final({0: 0.58}, "mnli", "zero-shot", k=0)
SOURCE = Final({0: 0.6, 1: 0.7, 2: 0.8}, "mnli", dev=0.6)
SCRATCH = Final({0: 0.3, 1: 0.4, 2: 0.5}, dev=0.4)


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    """The store that commands use in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return PromptStore(tracking_uri)


def experiment(store: PromptStore, task: str) -> Experiment:
    (found,) = [e for e in experiments(store) if e.task == task]
    return found


def test_table_files_and_run(store: PromptStore, tmp_path: Path) -> None:
    runs = record(store, "sample.cb", [SCRATCH, SOURCE, ZERO_SHOT])
    store.put(make_artifact(task="sample.cb", k=16, start="dept-minilm-sample.mnli/1"), run_id=runs[1])
    to, printed = console()

    rows = compare("cb", tmp_path / "out", to)

    assert [(r.start, r.method, dict(r.scores)) for r in rows] == [
        ("mnli", "zero-shot", {0: 0.58}),
        ("mnli", "dept", {0: 0.6, 1: 0.7, 2: 0.8}),
        ("scratch", "dept", {0: 0.3, 1: 0.4, 2: 0.5}),
    ]
    assert "sample.cb on minilm (accuracy, %, 300 test rows)" in printed.getvalue()
    assert "dept-minilm-sample.cb/1 (best, latest): k=16, from dept-minilm-sample.mnli/1" in printed.getvalue()
    assert "ui --target cb" in printed.getvalue().splitlines()[-1]
    with (tmp_path / "out" / "sample.cb.csv").open(newline="", encoding="utf-8") as file:
        assert [line["start"] for line in csv.DictReader(file)] == ["mnli", "mnli", "scratch"]
    assert (tmp_path / "out" / "sample.cb.png").stat().st_size > 1000

    there = experiment(store, "sample.cb")
    (logged,) = store.client.search_runs([there.id], f"tags.`{KIND}` = 'compare'")
    assert (logged.info.status, logged.data.tags[STATE]) == ("FINISHED", "finished")
    assert {a.path for a in store.client.list_artifacts(logged.info.run_id)} == {"sample.cb.csv", "sample.cb.png"}
    assert logged.data.metrics["mean/minilm/mnli/dept/k16"] == pytest.approx(0.7)
    assert logged.data.metrics["mean/minilm/mnli/zero-shot"] == pytest.approx(0.58)
    note = store.client.get_experiment(there.id).tags["mlflow.note.content"]
    assert "| mnli | dept | 16 | 3 | 70.0 |" in note
    assert runs[0] in note


def test_a_comparison_does_not_compare_itself(store: PromptStore, tmp_path: Path) -> None:
    record(store, "cb", [SCRATCH, ZERO_SHOT])
    to, _ = console()
    assert compare("cb", tmp_path / "out", to) == compare("cb", tmp_path / "out", to)


def test_seeds_are_pooled_and_the_later_score_stands(store: PromptStore) -> None:
    record(store, "cb", [Final({0: 0.3, 1: 0.4}, dev=0.4)])
    (later,) = record(store, "cb", [Final({1: 0.8, 2: 0.9, 3: 1.0}, dev=0.8)])
    (row,) = read_comparison(store, experiment(store, "cb")).rows
    assert row.scores == {0: 0.3, 1: 0.8, 2: 0.9, 3: 1.0}
    assert row.dev == pytest.approx((0.4 + 3 * 0.8) / 4)
    assert row.run_id == later


def test_k_backbone_start_and_method_are_rows_of_their_own(store: PromptStore) -> None:
    finals = [SCRATCH, Final({0: 0.1}, k=4), Final({0: 0.2}, backbone="google-t5/t5-base"), SOURCE, ZERO_SHOT]
    record(store, "cb", finals)
    assert len(read_comparison(store, experiment(store, "cb")).rows) == 5


def test_trials_and_runs_that_did_not_finish_stay_out(store: PromptStore) -> None:
    record(
        store,
        "cb",
        [
            SCRATCH,
            Final({0: 0.9}, "mnli", role="trial"),
            Final({0: 0.9}, "qqp", state="failed"),
            Final({0: 0.9}, "sst2", state="killed"),
            Final({0: 0.9}, "rte", state="pruned"),
        ],
    )
    assert [r.start for r in read_comparison(store, experiment(store, "cb")).rows] == ["scratch"]


def test_runs_on_other_test_rows_stay_out_and_are_told(store: PromptStore, tmp_path: Path) -> None:
    record(store, "cb", [Final({0: 0.9}, "mnli", digest="aa:bb:other")])
    record(store, "cb", [SCRATCH])
    to, printed = console()
    assert [r.start for r in compare("cb", tmp_path / "out", to)] == ["scratch"]
    assert "1 earlier runs were tested on other rows" in printed.getvalue()


def test_real_and_sample_rows_have_a_table_each(store: PromptStore, tmp_path: Path) -> None:
    record(store, "cb", [SCRATCH])
    record(store, "sample.cb", [SOURCE])
    record(store, "sst2", [SOURCE])
    to, _ = console()
    assert [(r.target, r.start) for r in compare("cb", tmp_path / "out", to)] == [
        ("cb", "scratch"),
        ("sample.cb", "mnli"),
    ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cb.csv",
        "cb.png",
        "sample.cb.csv",
        "sample.cb.png",
    ]


def test_no_runs_says_what_to_run(store: PromptStore, tmp_path: Path) -> None:
    record(store, "cb", [SCRATCH])
    to, _ = console()
    with pytest.raises(UsageError, match=r"'sst2'.*there are runs of cb.*fewshot --target sst2 --k 16"):
        compare("sst2", tmp_path / "out", to)
    with pytest.raises(TaskError, match="did you mean 'sst2'"):
        compare("sst", tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_no_store_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    to, _ = console()
    with pytest.raises(UsageError, match="fewshot --target cb"):
        compare("cb", tmp_path / "out", to)
    assert not list(tmp_path.iterdir())


def test_out_that_is_a_file_is_refused(store: PromptStore, tmp_path: Path) -> None:
    record(store, "cb", [SCRATCH])
    (tmp_path / "out").write_text("")
    to, _ = console()
    with pytest.raises(UsageError, match="--out"):
        compare("cb", tmp_path / "out", to)


def test_right_page_compares_the_newest_command_s_finals(store: PromptStore) -> None:
    assert right_page(store) == "#/experiments"
    old = record(store, "cb", [SCRATCH, SOURCE])
    new = record(store, "sample.cb", [SCRATCH, Final({0: 0.9}, role="trial"), ZERO_SHOT])
    page = right_page(store)
    assert page is not None
    assert page.startswith("#/compare-runs?runs=%5B%22")
    assert new[0] in page
    assert new[2] in page
    assert new[1] not in page
    assert old[0] not in page
    assert right_page(store, "cb") == page  # the sample form is the newer one
    assert right_page(store, "qqp") is None


def test_ui_command_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert ui_command("cb").startswith(f"cd {tmp_path} && ")
    assert ui_command("cb").endswith("ui --target cb")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert "cd " not in ui_command()
