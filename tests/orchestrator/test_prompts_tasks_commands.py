import json
from pathlib import Path

import pytest

from orchestrator.commands.prompts import list_prompts, show_prompt
from orchestrator.commands.tasks import list_tasks, show_task
from prompts_store import PromptStore, Sizes, StoreError
from tasks import TaskError, load_task, task_names
from tests.orchestrator.helpers import console
from tests.prompts_store.conftest import make_artifact

NLI = ["entailment", "neutral", "contradiction"]


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    """A source in two versions and a few-shot prompt that started from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    store = PromptStore(tracking_uri)
    run = store.client.create_run(store.ensure_experiment("pretrain-source"), run_name="mnli").info.run_id
    for seed, score in enumerate((0.5, 0.7, 0.6)):
        store.put(make_artifact(seed, task="sample.mnli", labels=NLI, dev_score=score), run_id=run)
    fewshot = make_artifact(
        9,
        task="sample.cb",
        labels=["entailment", "contradiction", "neutral"],
        k=16,
        start="dept-minilm-sample.mnli/2",
        resized_from=Sizes(m=4, r=2, s=5),
        test_score=0.25,
    )
    store.put(fewshot, run_id=run)
    return store


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.mark.usefixtures("store")
class TestPrompts:
    def test_list_shows_best_and_latest(self) -> None:
        to, printed = console()
        shown = list_prompts(None, False, to)
        assert [p.ref for p in shown] == [
            "dept-minilm-sample.cb/1",
            "dept-minilm-sample.mnli/2",
            "dept-minilm-sample.mnli/3",
        ]
        assert "older versions, shown by --all: 1" in printed.getvalue()
        assert "70.0%" in printed.getvalue()

    def test_list_all_of_a_task_and_its_sample_form(self) -> None:
        to, printed = console()
        assert len(list_prompts("mnli", True, to)) == 3
        assert "older versions" not in printed.getvalue()

    def test_list_of_an_unknown_task_names_what_there_is(self) -> None:
        to, _ = console()
        with pytest.raises(StoreError, match=r"'qqp'.*sample\.cb, sample\.mnli.*pretrain-source --tasks qqp"):
            list_prompts("qqp", False, to)

    def test_show_tells_where_it_came_from(self) -> None:
        to, printed = console()
        card = show_prompt("cb", to)
        text = printed.getvalue()
        assert card.task == "sample.cb"
        assert "dept-minilm-sample.cb/1 (best, latest)" in text
        assert "dev 60.0%, test 25.0%" in text
        assert "k = 16 rows" in text
        assert "dept-minilm-sample.mnli/2 <- scratch; resized from m=4, r=2, s=5" in text
        assert "'mnli' in the experiment 'pretrain-source'" in text
        assert "entailment, contradiction, neutral" in text
        assert "prompt 3x8" in text
        # m d + (s + d) r = 3*8 + (5 + 8)*2
        assert "50 parameters" in text

    def test_show_of_a_source_tells_what_started_from_it(self) -> None:
        to, printed = console()
        show_prompt("dept-minilm-sample.mnli@best", to)
        (line,) = [line for line in printed.getvalue().splitlines() if line.startswith("started")]
        assert line.split() == ["started", "dept-minilm-sample.cb/1"]

    def test_show_of_an_unknown_one(self) -> None:
        to, _ = console()
        with pytest.raises(StoreError, match=r"Near: .*sample\.mnli"):
            show_prompt("sample.mnl", to)


class TestPromptsNowhere:
    def test_list_says_how_to_make_one(self, nowhere: Path) -> None:
        to, printed = console()
        assert list_prompts(None, False, to) == []
        assert "orchestrator pretrain-source --tasks mnli" in printed.getvalue()
        assert not list(nowhere.iterdir())

    def test_show_is_bad_input(self, nowhere: Path) -> None:
        to, _ = console()
        with pytest.raises(StoreError, match="no prompts are stored"):
            show_prompt("mnli", to)
        assert not list(nowhere.iterdir())


class TestTasks:
    def test_list_has_the_whole_catalogue(self) -> None:
        to, printed = console()
        assert [task.name for task in list_tasks(to)] == task_names()
        assert "CommitmentBank (SuperGLUE)" in printed.getvalue()

    def test_show_maps_labels_of_stored_sources(self, store: PromptStore) -> None:
        to, printed = console()
        assert show_task("cb", None, to).name == "cb"
        text = printed.getvalue()
        assert "0 entailment (yes), 1 contradiction (no), 2 neutral (maybe)" in text
        assert "accuracy+macro_f1" in text
        assert f"aps/super_glue (cb) at {load_task('cb').hub.revision}: train, validation" in " ".join(text.split())
        assert (
            "dept-minilm-sample.mnli/2: entailment from its 0 entailment, contradiction from its 2 contradiction, "
            "neutral from its 1 neutral"
        ) in text
        assert "premise: " in text
        assert store.list()

    @pytest.mark.usefixtures("store")
    def test_show_of_a_task_with_other_labels(self) -> None:
        to, printed = console()
        show_task("sst2", None, to)
        assert "dept-minilm-sample.mnli/2: no label in common" in printed.getvalue()

    def test_show_without_a_store_or_sample_rows(self, nowhere: Path) -> None:
        to, printed = console()
        show_task("wic", None, to)
        assert "sentence1 is '{word}: {sentence1}'" in printed.getvalue()
        assert "give --data FOLDER" in printed.getvalue()
        assert "no store here yet" in printed.getvalue()
        assert not list(nowhere.iterdir())

    def test_show_takes_an_example_from_a_folder(self, nowhere: Path) -> None:
        (nowhere / "rows" / "cb").mkdir(parents=True)
        row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 2}
        (nowhere / "rows" / "cb" / "train.jsonl").write_text(json.dumps(row) + "\n")
        to, printed = console()
        show_task("cb", "rows", to)
        assert "premise: It rains. hypothesis: It is wet." in printed.getvalue()
        assert "neutral (maybe)" in printed.getvalue()
        assert "train: 1 rows; entailment 0, contradiction 0, neutral 1" in printed.getvalue()

    @pytest.mark.usefixtures("nowhere")
    def test_show_of_the_sample_form(self) -> None:
        to, printed = console()
        assert show_task("sample.cb", None, to).name == "sample.cb"
        assert "generated by this project" in printed.getvalue()

    def test_show_of_an_unknown_task(self) -> None:
        to, _ = console()
        with pytest.raises(TaskError, match="did you mean 'sst2'"):
            show_task("sst", None, to)
