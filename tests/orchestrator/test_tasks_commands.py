"""Tasks of one's own: `tasks new`, `tasks check`, `tasks show`, and what training says of forms it cannot do."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands import check_task as module
from orchestrator.commands.check_task import check_task
from orchestrator.commands.tasks import list_tasks, new_task, show_task
from orchestrator.errors import UsageError
from orchestrator.settings import PretrainSettings
from orchestrator.setup import set_up
from prompts_store import PromptStore
from tasks import TaskError, load_task, open_data
from tests.orchestrator.helpers import console
from tests.prompts_store.conftest import make_artifact


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def write(name: str, rows: list[dict[str, object]], *more: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*map(json.dumps, rows), *more]) + "\n")


def words(i: int) -> str:
    return f"The {i}th sentence tells of {i * 7 % 13} cats."


ROWS = {
    "single": [{"id": i, "text": words(i), "label": ("ham", "spam")[i % 2]} for i in range(20)],
    "pair": [{"one": words(i), "two": words(i + 1), "kind": "?", "label": i % 3} for i in range(20)],
    "choice": [
        {"story": words(i), "ending1": words(i + 1), "ending2": words(i + 2), "answer": str(i % 2 + 1)}
        for i in range(20)
    ],
    "span": [
        {"context": words(i), "question": f"How many cats in {i}?", "answers": [str(i * 7 % 13), "some"]}
        for i in range(20)
    ],
    "regression": [{"sentence1": words(i), "sentence2": words(i + 1), "score": i / 4} for i in range(20)],
}


@pytest.mark.parametrize("form", ROWS)
def test_new_then_check_then_show(form: str) -> None:
    write("rows/train.jsonl", ROWS[form])
    write("rows/validation.jsonl", [{k: f"{v}!" if k in "text" else v for k, v in row.items()} for row in ROWS[form]])
    to, printed = console()
    assert new_task("mine", "rows", to).form == form
    assert "wrote mine.yaml" in printed.getvalue()
    task = load_task("mine.yaml")
    assert task.form == form

    to, printed = console()
    assert check_task("mine.yaml", "rows", "minilm", None, False, to) == task
    text = printed.getvalue()
    assert "mine, version 1: the file is right" in text
    assert "train: 20 rows" in text
    assert text.count("[CLS]") == 3
    assert text.count("answer: ") >= 3
    assert "0 of 20 rows would be cut at s = 256" in text
    assert ("for text-to-text backbones" in text) == (form in ("span", "choice"))

    to, printed = console()
    assert show_task("mine.yaml", "rows", to) == task
    assert "validation: 20 rows" in printed.getvalue()


def test_few_answers_cut_out_of_the_passage_are_a_span() -> None:
    rows = [
        {"question": f"Who {i}{n}?", "context": f"{n} ran {i} days", "answer": n} for i in range(9) for n in "ABCDEF"
    ]
    write("rows/train.jsonl", rows)
    to, _ = console()
    assert new_task("mine", "rows", to).form == "span"
    for row in rows:
        row["answer"] = row["answer"] + "!"  # stands nowhere: a class
    write("rows/train.jsonl", rows)
    assert new_task("other", "rows", to).form == "pair"


def test_what_the_guess_says() -> None:
    write("rows/mine/train.jsonl", ROWS["pair"])
    to, printed = console()
    guess = new_task("mine", "rows", to)
    assert guess.unused == ("kind",)
    task = load_task("mine.yaml")
    assert (task.fields, task.labels, task.label_words) == (("one", "two"), ("0", "1", "2"), ("0", "1", "2"))
    assert "columns it does not use: kind" in printed.getvalue()
    assert "orchestrator tasks check mine.yaml --data rows" in printed.getvalue()
    source = open_data("rows", ["mine.yaml"])
    assert len(source.load(task, "train")) == 20


def test_new_overwrites_nothing_and_takes_no_name_of_the_catalogue() -> None:
    write("rows/train.jsonl", ROWS["single"])
    to, _ = console()
    new_task("mine", "rows", to)
    before = Path("mine.yaml").read_text()
    with pytest.raises(UsageError, match=r"mine\.yaml is there already"):
        new_task("mine", "rows", to)
    assert Path("mine.yaml").read_text() == before
    for name, message in {
        "cb": "a task of the catalogue already",
        "a/b": "cannot be called",
        "sample.x": "be called",
    }.items():
        with pytest.raises(TaskError, match=message):
            new_task(name, "rows", to)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], "every row has the label 'x'"),
        ([{"n": 1, "label": "x"}, {"n": 2, "label": "y"}], "no column holds texts beside the labels in 'label'"),
        ([{"text": "a b"}, {"text": "c d"}], "no column looks like labels: call the one that holds them 'label'"),
        ([{"my text": "a b", "label": 0}, {"my text": "c", "label": 1}], "found 'my text': rename the columns"),
        ([], "no row can be read"),
    ],
)
def test_rows_that_tell_no_task(rows: list[dict[str, object]], message: str) -> None:
    write("rows/train.jsonl", rows)
    to, _ = console()
    with pytest.raises(TaskError, match=message):
        new_task("mine", "rows", to)
    assert not Path("mine.yaml").exists()


def test_new_of_a_folder_without_rows() -> None:
    Path("rows").mkdir()
    Path("rows/readme.txt").write_text("nothing")
    to, _ = console()
    with pytest.raises(TaskError, match=r"has no train\.jsonl .*it has readme\.txt"):
        new_task("mine", "rows", to)
    with pytest.raises(TaskError, match="no data folder 'row'"):
        new_task("mine", "row", to)


def test_check_counts_what_is_cut_and_shows_it() -> None:
    write("rows/train.jsonl", ROWS["single"][:10])
    write("rows/validation.jsonl", ROWS["single"][10:])
    to, _ = console()
    new_task("mine", "rows", to)
    to, printed = console()
    check_task("mine.yaml", "rows", "minilm", 6, False, to)
    text = printed.getvalue()
    assert "10 of 10 rows would be cut at s = 6" in text
    assert "6 tokens, cut from " in text
    assert "[CLS] the 0th sentence [SEP]" in text
    with pytest.raises(UsageError, match="--max-length must be at least 1, got 0"):
        check_task("mine.yaml", "rows", "minilm", 0, False, to)


def test_check_names_bad_rows_leaks_and_missing_labels() -> None:
    write("rows/train.jsonl", ROWS["single"], "{")
    write("rows/validation.jsonl", ROWS["single"][:2])
    to, _ = console()
    new_task("mine", "rows", to)
    task = Path("mine.yaml")
    task.write_text(task.read_text().replace('["ham", "spam"]', '["ham", "spam", "egg"]'))
    with pytest.raises(TaskError, match=r"train\.jsonl, line 21: not JSON"):
        check_task("mine.yaml", "rows", "minilm", None, False, to)
    to, printed = console()
    check_task("mine.yaml", "rows", "minilm", None, True, to)
    text = printed.getvalue()
    assert "1 malformed rows were left out: rows/train.jsonl, line 21: not JSON" in text
    assert "2 validation rows also stand in train, such as 'The 0th sentence" in text
    assert "no row of 'egg': is the label spelt as in the file?" in text


def test_check_looks_at_the_first_rows_of_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("rows/train.jsonl", ROWS["single"], "{")
    write("rows/validation.jsonl", ROWS["single"][:3])
    to, _ = console()
    new_task("mine", "rows", to)
    monkeypatch.setattr(module, "HELD_BYTES", 500)
    monkeypatch.setattr(module, "FIRST", 10)
    to, printed = console()
    check_task("mine.yaml", "rows", "minilm", None, False, to)
    text = printed.getvalue()
    assert "train: of 0 MB the first 10 rows are looked at" in text
    assert "train: 10 rows" in text
    assert "validation: 3 rows" in text


def test_check_without_rows_and_of_a_wrong_file() -> None:
    to, printed = console()
    assert check_task("wic", None, "minilm", None, False, to).name == "wic"
    assert "give --data FOLDER or --data hub to check its rows" in printed.getvalue()
    Path("bad.yaml").write_text("name: bad\nversion: 1\nform: triple\n")
    with pytest.raises(TaskError, match=r"bad\.yaml: missing key 'title'"):
        check_task("bad.yaml", None, "minilm", None, False, to)


def test_check_of_a_sample_task() -> None:
    to, printed = console()
    check_task("cb", None, "minilm", None, False, to)
    text = printed.getvalue()
    assert "train: 400 rows" in text
    assert "to compare with, accuracy on validation: a bag of words 3" in text
    assert text.count("answer: ") == 3
    assert "also stand in train" not in text


def test_list_marks_what_an_encoder_cannot_learn() -> None:
    to, printed = console()
    list_tasks(to)
    for form in ("span *", "choice *"):
        assert form in printed.getvalue()
    for form in ("pair *", "regression *"):
        assert form not in printed.getvalue()
    assert "* for text-to-text backbones" in printed.getvalue()


def test_show_tells_words_digits_and_label_maps() -> None:
    to, printed = console()
    show_task("mrpc", None, to)
    text = printed.getvalue()
    assert "0 not_equivalent (no), 1 equivalent (yes)" in text
    assert "from qqp: not_equivalent = not_duplicate, equivalent = duplicate" in text
    to, printed = console()
    show_task("stsb", None, to)
    assert "a number from 0 to 5, said in steps of 0.2" in printed.getvalue()
    to, printed = console()
    show_task("wic", None, to)
    assert "from boolq: none, by intent" in printed.getvalue()
    to, printed = console()
    show_task("wsc", None, to)
    assert "asterisks around span2_text in text" in printed.getvalue()


def test_show_maps_the_labels_of_stored_sources(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    store = PromptStore(tracking_uri)
    run = store.client.create_run(store.ensure_experiment("pretrain-source"), run_name="qqp").info.run_id
    store.put(make_artifact(0, task="sample.qqp", labels=["not_duplicate", "duplicate"], dev_score=0.5), run_id=run)
    to, printed = console()
    show_task("mrpc", None, to)
    assert (
        "dept-minilm-sample.qqp/1: not_equivalent from its 0 not_duplicate, equivalent from its 1 duplicate"
        " (as the task file maps them)"
    ) in printed.getvalue()


@pytest.mark.parametrize("name", ["copa", "squad"])
def test_training_names_the_form_it_cannot_do(name: str) -> None:
    Path(f"rows/{name}").mkdir(parents=True)
    to, _ = console()
    settings = PretrainSettings(tasks=(name,), data="rows")
    form = load_task(name).form
    (Path("rows") / name / "train.jsonl").write_text("{}")
    message = f"task '{name}' is of the form '{form}' .*cannot be trained on the encoder minilm: use a text-to"
    with pytest.raises(UsageError, match=message):
        set_up(settings, settings.tasks, to)
    assert not list(Path().glob("mlflow*"))


def test_the_command_line() -> None:
    write("rows/train.jsonl", ROWS["single"])
    runner = CliRunner()
    made = runner.invoke(app, ["tasks", "new", "mine", "--data", "rows"])
    assert made.exit_code == 0, made.output
    checked = runner.invoke(
        app, ["tasks", "check", "mine.yaml", "--data", "rows", "--max-length", "9", "--skip-bad-rows"]
    )
    assert checked.exit_code == 0, checked.output
    assert "no validation rows: both train and validation are needed for training" in checked.output
    assert "20 of 20 rows would be cut at s = 9" in checked.output
    for command in ("new", "check"):
        assert runner.invoke(app, ["tasks", command, "--help"]).exit_code == 0
