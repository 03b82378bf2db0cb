import json
import re
import time
from pathlib import Path

import pytest

from tasks import RowStream, TaskError, _hub, draw_fewshot, load_task, open_data
from tasks._catalogue import CATALOGUE

ROWS = [
    {"premise": f"It rained {i} days.", "hypothesis": "It was wet.", "label": i % 3, "idx": i} for i in range(9)
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, splits in {"mnli": ("train", "validation"), "cb": ("train",)}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for split in splits:
            text = "\n".join(json.dumps(row) for row in ROWS)
            (tmp_path / "data" / name / f"{split}.jsonl").write_text(text)
    return tmp_path / "data"


def test_folder(folder: Path) -> None:
    source = open_data(str(folder), ["mnli", "cb"])
    mnli = source.task("mnli")
    assert (source.kind, source.notice) == ("folder", None)
    assert str(folder) in source.description
    assert source.splits(mnli) == ("train", "validation")
    rows = source.load(mnli, "validation")
    assert len(rows) == 9
    assert rows.split == "validation"
    with pytest.raises(TaskError, match=r"has no validation.jsonl: it has train.jsonl"):
        source.load(source.task("cb"), "validation")


def test_folder_errors(folder: Path) -> None:
    with pytest.raises(TaskError, match=r"no data folder .*did you mean 'data'"):
        open_data(str(folder.parent / "dat"), ["mnli"])
    with pytest.raises(TaskError, match=r"has no task 'snli'.*did you mean 'mnli'.*it has cb, mnli"):
        open_data(str(folder), ["mnli", "snli"])
    with pytest.raises(TaskError, match=r"no data folder 'smaple'; did you mean 'sample'"):
        open_data("smaple", ["mnli"])
    with pytest.raises(TaskError, match=r"exists only as sample data"):
        open_data(str(folder), ["sample.mnli"])
    with pytest.raises(TaskError, match=r"unknown task 'mnly'"):
        open_data(str(folder), ["mnly"])
    (folder / "rte").mkdir()
    with pytest.raises(TaskError, match=r"has no rows of task 'rte'"):
        open_data(str(folder), ["rte"])


def test_a_test_file_serves_as_validation_where_the_hub_has_none(folder: Path) -> None:
    (folder / "trec").mkdir()
    for split in ("train", "test"):
        (folder / "trec" / f"{split}.jsonl").write_text('{"text": "Who is it?", "coarse_label": 3}')
    source = open_data(str(folder), ["trec"])
    trec = source.task("trec")
    assert source.splits(trec) == ("train", "validation")
    assert source.load(trec, "validation").label_counts()["HUM"] == 1


def test_sample(offline: Path) -> None:
    source = open_data("sample", ["cb", "sample.mnli"])
    assert source.kind == "sample"
    assert source.notice is None
    task = source.task("cb")
    assert task == source.task("sample.cb")
    assert task.name == "sample.cb"
    assert source.splits(task) == ("train", "validation", "test")
    rows = source.load(task, "train")
    assert rows.task is task
    assert rows.source == "sample:cb:train"
    with pytest.raises(TaskError, match=r"no sample data for task 'boolq': the sample tasks are sst2, qqp, mnli, cb"):
        open_data("sample", ["boolq"])
    with pytest.raises(TaskError, match=r"unknown task 'mnly'"):
        open_data("sample", ["mnly"])


def test_automatic_falls_back_to_sample_with_a_notice(offline: Path) -> None:
    start = time.perf_counter()
    source = open_data(None, ["mnli", "cb"])
    assert time.perf_counter() - start < 1
    assert source.kind == "sample"
    assert source.notice is not None
    for part in ("SAMPLE DATA, NOT MNLI, CB", "HF_HUB_OFFLINE is set", "sample.mnli, sample.cb", "--data FOLDER"):
        assert part in source.notice
    with pytest.raises(TaskError, match=r"no sample data for task 'boolq'"):
        open_data(None, ["boolq"])
    assert open_data(None, ["sample.cb"]).notice is None
    with pytest.raises(TaskError, match=r"cannot be mixed"):
        open_data(None, ["sample.cb", "mnli"])


def test_a_hanging_network_costs_one_deadline(monkeypatch: pytest.MonkeyPatch, online: None, offline: Path) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    asked = []

    def hang(endpoint: str) -> None:
        asked.append(endpoint)
        time.sleep(5)

    monkeypatch.setattr(_hub, "_probe", hang)
    monkeypatch.setattr(_hub, "PROBE_SECONDS", 0.2)
    start = time.perf_counter()
    for _ in range(3):
        assert "did not answer within 0.2 seconds" in (open_data(None, ["mnli"]).notice or "")
    assert time.perf_counter() - start < 2
    assert len(asked) == 1


def test_probe_of_a_closed_port_says_why() -> None:
    assert "cannot be reached" in (_hub._probe("http://127.0.0.1:9") or "")
    assert "cannot be reached" in (_hub._probe("nonsense") or "")


@pytest.fixture
def parquet_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: None):
    """Let ``datasets.load_dataset`` read local Parquet copies with the hub's columns; return what it was asked."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    names = ["entailment", "neutral", "contradiction"]
    features = datasets.Features(
        premise=datasets.Value("string"),
        hypothesis=datasets.Value("string"),
        label=datasets.ClassLabel(names=names),
        idx=datasets.Value("int32"),
    )
    for name, changed in {
        "whole": features,
        "order": features | {"label": datasets.ClassLabel(names=names[::-1])},
    }.items():
        datasets.Dataset.from_list(ROWS, features=datasets.Features(changed)).to_parquet(tmp_path / f"{name}.parquet")
    datasets.Dataset.from_list([{"text": "a", "label": 0}]).to_parquet(tmp_path / "other.parquet")
    really, asked = datasets.load_dataset, []

    def load_dataset(path: str, name: str | None = None, *, split: str, revision: str | None = None):
        asked.append((path, name, split, revision))
        file = tmp_path / f"{load_dataset.file}.parquet"
        return really("parquet", data_files={split: str(file)}, split=split, cache_dir=str(tmp_path / "cache"))

    load_dataset.file = "whole"
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return load_dataset, asked


def test_hub(parquet_hub, folder: Path) -> None:
    load_dataset, asked = parquet_hub
    source = open_data(None, ["mnli", "cb"])
    assert (source.kind, source.notice) == ("hub", None)
    mnli = source.task("mnli")
    rows = source.load(mnli, "validation")
    pinned = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
    assert asked == [("nyu-mll/glue", "mnli", "validation_matched", pinned)]
    assert rows.source == f"hub:nyu-mll/glue/mnli@{pinned}:validation_matched"
    assert rows.digest == open_data(str(folder), ["mnli"]).load(mnli, "validation").digest
    assert source.splits(mnli) == ("train", "validation")
    with pytest.raises(TaskError, match=r"has no split 'test' on the hub: it has train, validation"):
        source.load(mnli, "test")
    load_dataset.file = "order"
    with pytest.raises(TaskError, match=r"its labels are contradiction, neutral, entailment, task 'mnli' says"):
        source.load(mnli, "train")
    load_dataset.file = "other"
    with pytest.raises(TaskError, match=r"no column 'premise'.*it has text, label"):
        source.load(mnli, "train")
    load_dataset.file = "missing"
    with pytest.raises(TaskError, match=r"cannot be loaded .*--data FOLDER"):
        source.load(mnli, "train")


def test_a_pinned_revision_is_asked_for_and_named(parquet_hub, tmp_path: Path) -> None:
    _, asked = parquet_hub
    text = (CATALOGUE / "mnli.yaml").read_text().replace("name: mnli\nversion", "name: pinned\nversion")
    path = tmp_path / "pinned.yaml"
    path.write_text(re.sub("  revision: .*", "  revision: 0123abc", text))
    source = open_data("hub", [str(path)])
    rows = source.load(source.task(str(path)), "train")
    assert asked == [("nyu-mll/glue", "mnli", "train", "0123abc")]
    assert rows.source == "hub:nyu-mll/glue/mnli@0123abc:train"


OTHER_FORMS = {
    "squad": [{"id": "1", "title": "t", "question": "Who?", "context": "Ann and Bob.",
               "answers": {"text": ["Ann", "Bob"], "answer_start": [0, 8]}}],
    "newsqa": [{"question": "Who?", "context": "Ann and Bob.", "answers": ["Ann", "Bob"], "key": "k", "labels": []}],
    "record": [{"query": "@placeholder ran.", "passage": "Ann and Bob.", "entities": ["Ann"],
                "entity_spans": {"text": ["Ann"], "start": [0], "end": [3]}, "answers": ["Ann", "Bob"], "idx": {}}],
    "stsb": [{"sentence1": "a", "sentence2": "b", "label": 2.5, "idx": 0}],
    "winogrande": [{"sentence": "_ ran.", "option1": "Ann", "option2": "Bob", "answer": "2"}],
    "multirc": [{"paragraph": "Ann ran.", "question": "Who?", "answer": "Ann", "label": 1,
                 "idx": {"paragraph": 0, "question": 0, "answer": 0}}],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_hub_of_other_forms(parquet_hub, tmp_path: Path, name: str) -> None:
    import datasets

    load_dataset, _ = parquet_hub
    rows = [{key: value for key, value in row.items() if value not in ({}, [])} for row in OTHER_FORMS[name]]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "form.parquet")
    load_dataset.file = "form"
    source = open_data("hub", [name])
    (example,) = source.load(source.task(name), "train").examples
    assert example.answers == (("Ann", "Bob") if source.task(name).gold == "answers" else ())
    assert example.value == (2.5 if name == "stsb" else None)
    assert example.label == {"winogrande": 1, "multirc": 1}.get(name, -1)


def test_files_of_one_task_may_lie_in_the_folder_itself(folder: Path) -> None:
    own = folder / "mnli"
    source = open_data(str(own), ["mnli"])
    assert source.splits(source.task("mnli")) == ("train", "validation")
    assert len(source.load(source.task("mnli"), "train")) == 9
    with pytest.raises(TaskError, match="has no task 'mnli'"):
        open_data(str(own), ["mnli", "cb"])
    assert len(open_data(str(folder), ["cb"]).load(load_task("cb"), "train")) == 9


def test_a_folder_streams_and_other_sources_load(folder: Path) -> None:
    source = open_data(str(folder), ["cb"], skip_bad=True)
    stream = source.stream(load_task("cb"), "train")
    assert isinstance(stream, RowStream)
    assert tuple(stream) == source.load(load_task("cb"), "train").examples
    assert draw_fewshot(stream, 3, 0, dev="none") == draw_fewshot(
        source.load(load_task("cb"), "train"), 3, 0, dev="none"
    )
    with pytest.raises(TaskError, match=r"has no validation.jsonl"):
        source.stream(load_task("cb"), "validation")
    sample = open_data("sample", ["cb"])
    assert sample.stream(sample.task("cb"), "train") == sample.load(sample.task("cb"), "train")


def test_bad_rows_of_a_folder_are_left_out_where_that_is_asked_for(folder: Path) -> None:
    path = folder / "cb" / "train.jsonl"
    path.write_text(path.read_text() + "\n?\n")
    with pytest.raises(TaskError, match="line 10: not JSON"):
        open_data(str(folder), ["cb"]).load(load_task("cb"), "train")
    rows = open_data(str(folder), ["cb"], skip_bad=True).load(load_task("cb"), "train")
    assert (len(rows), rows.bad.count) == (9, 1)


def test_hub_asked_for_without_a_network_says_so_at_once(offline: Path) -> None:
    source = open_data("hub", ["mnli"])
    mnli = source.task("mnli")
    with pytest.raises(TaskError, match=r"no train rows of 'mnli': HF_HUB_OFFLINE is set, nor are they cached"):
        source.load(mnli, "train")
    fill_cache(offline, "mnli", "nyu-mll/glue", {"train": 1, "validation_matched": 1})
    assert len(source.load(mnli, "train")) == 9


def fill_cache(cache: Path, config: str, path: str, splits: dict[str, int]) -> None:
    import datasets

    copy = cache / path.replace("/", "___") / config / "0.0.0" / "abc"
    copy.mkdir(parents=True)
    dataset = datasets.Dataset.from_list(ROWS)
    for split, shards in splits.items():
        for i in range(shards):
            part = dataset.shard(shards, i).data.table
            name = path.rpartition("/")[2] + f"-{split}" + (f"-{i:05}-of-{shards:05}" if shards > 1 else "") + ".arrow"
            import pyarrow

            with pyarrow.OSFile(str(copy / name), "wb") as file, pyarrow.ipc.new_stream(file, part.schema) as stream:
                stream.write_table(part)
    (copy / "dataset_info.json").write_text(json.dumps({"features": {"label": {"_type": "ClassLabel"}}}))


def test_cache_serves_without_a_hub_when_it_holds_everything(offline: Path, folder: Path) -> None:
    fill_cache(offline, "mnli", "nyu-mll/glue", {"train": 3, "validation_matched": 1})
    source = open_data(None, ["mnli"])
    assert (source.kind, source.notice) == ("cache", None)
    mnli = source.task("mnli")
    assert source.splits(mnli) == ("train", "validation")
    expected = open_data(str(folder), ["mnli"]).load(mnli, "train").digest
    assert source.load(mnli, "train").digest == source.load(mnli, "validation").digest == expected
    with pytest.raises(TaskError, match=r"split 'test' of mnli is not in the datasets cache"):
        source.load(mnli, "test")
    assert open_data(None, ["mnli", "cb"]).kind == "sample", "never some real rows and some generated ones"


def test_an_incomplete_cache_does_not_serve(offline: Path) -> None:
    fill_cache(offline, "mnli", "nyu-mll/glue", {"train": 3, "validation_matched": 1})
    next(offline.rglob("*-00001-of-00003.arrow")).unlink()
    assert open_data(None, ["mnli"]).kind == "sample"


def test_a_task_without_hub_needs_a_folder(online: None, tmp_path: Path) -> None:
    text = "\n".join(
        f"{key}: {value}"
        for key, value in {
            "name": "mail", "version": 1, "form": "single", "title": "Mail", "description": "d", "fields": "[text]",
            "labels": "[ham, spam]", "label_words": "[good, bad]", "template": "'{text} is'", "metric": "accuracy",
        }.items()
    )  # fmt: skip
    path = tmp_path / "mail.yaml"
    path.write_text(text)
    with pytest.raises(TaskError, match=r"no rows of task 'mail'.*--data FOLDER"):
        open_data(None, [str(path)])
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "train.csv").write_text("text,label\nBuy!,spam\n")
    source = open_data(str(tmp_path), [str(path)])
    assert source.load(source.task(str(path)), "train").label_counts() == {"ham": 0, "spam": 1}


def test_real_folder(real_rows: Path) -> None:
    source = open_data(str(real_rows), ["mnli", "cb"])
    assert source.load(load_task("cb"), "train").label_counts() == {
        "entailment": 115,
        "contradiction": 119,
        "neutral": 16,
    }
