import json
import time
from pathlib import Path

import pytest

from tasks import Example, Rows, TaskError, find_leaks, load_task, read_rows

MNLI, WIC, SNLI = load_task("mnli"), load_task("wic"), load_task("snli")
ROW = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0, "idx": 7}


def write(folder: Path, *rows: object, name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_labels_as_ids_names_and_strings(tmp_path: Path) -> None:
    labels = [0, "neutral", "2", "contradiction", 1.0]
    rows = read_rows(write(tmp_path, *(ROW | {"label": label} for label in labels)), MNLI)
    assert [example.label for example in rows.examples] == [0, 1, 2, 2, 1]
    assert rows.label_counts() == {"entailment": 1, "neutral": 2, "contradiction": 2}
    assert rows.split == "train"
    assert rows.source.endswith("train.jsonl")
    assert len(rows) == 5


def test_aliases_booleans_and_composed_fields(tmp_path: Path) -> None:
    row = {"word": "bank", "sentence1": "A bank.", "sentence2": "The bank.", "label": True}
    rows = read_rows(write(tmp_path, row, row | {"label": "false", "sentence2": "x"}), WIC)
    assert [example.label for example in rows.examples] == [1, 0]
    assert rows.examples[0].texts == ("bank: A bank.", "The bank.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{'premise': 1}", "line 2: not JSON"),
        ("[1, 2]", r"line 2: must be a JSON object with the columns, got '\[1, 2\]'"),
        ({"premise": "a", "label": 0}, "line 2: no column 'hypothesis': the row has premise, label"),
        ({"premise": "a", "hypothsis": "b", "label": 0}, "line 2: no column 'hypothesis'; did you mean 'hypothsis'"),
        (ROW | {"premise": 5}, "line 2: premise is 5: must be a text"),
        (ROW | {"premise": None}, "line 2: premise is None"),
        (ROW | {"label": 3}, "line 2: label is 3: must be an id from 0 to 2 or one of entailment"),
        (ROW | {"label": "entailmnt"}, "label is 'entailmnt'.*did you mean 'entailment'"),
        (ROW | {"label": [0]}, r"line 2: label is \[0\]"),
        (ROW | {"label": -1}, "line 2: the row has no label"),
        (ROW | {"label": 0.5}, "line 2: label is 0.5"),
        ({"premise": "a", "hypothesis": "b"}, "line 2: no column 'label'"),
        (ROW | {"premise": " ", "hypothesis": ""}, "line 2: the text is empty"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(TaskError, match=message) as error:
        read_rows(write(tmp_path, ROW, row, ROW), MNLI)
    assert str(tmp_path / "train.jsonl") in str(error.value)


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"line 4"):
        read_rows(write(tmp_path, ROW, "", "  ", "?"), MNLI)


def test_unlabelled_rows_are_dropped_where_the_task_says_so(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, ROW, ROW | {"label": -1}, ROW | {"label": "-"}), SNLI)
    assert len(rows) == 1
    with pytest.raises(TaskError, match=r"no labelled rows"):
        read_rows(write(tmp_path, ROW | {"label": -1}), SNLI)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no file"):
        read_rows(tmp_path / "none.jsonl", MNLI)
    with pytest.raises(TaskError, match=r"cannot read files ending in '.txt'"):
        read_rows(write(tmp_path, ROW, name="a.txt"), MNLI)
    with pytest.raises(TaskError, match=r"no labelled rows"):
        read_rows(write(tmp_path, name="empty.jsonl"), MNLI)
    (tmp_path / "latin.jsonl").write_bytes(b'{"premise": "caf\xe9"}')
    with pytest.raises(TaskError, match=r"line 1: not UTF-8"):
        read_rows(tmp_path / "latin.jsonl", MNLI)
    (tmp_path / "no.parquet").write_bytes(b"PAR")
    with pytest.raises(TaskError, match=r"not a Parquet file"):
        read_rows(tmp_path / "no.parquet", MNLI)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode())
    assert len(read_rows(tmp_path / "a.jsonl", MNLI)) == 1


def test_csv_tsv_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [ROW, ROW | {"premise": 'She said "no", twice.', "label": 2}]
    expected = read_rows(write(tmp_path, *rows), MNLI)
    csv = 'premise,hypothesis,label\nIt rains.,It is wet.,0\n"She said ""no"", twice.",It is wet.,contradiction\n'
    (tmp_path / "a.csv").write_text(csv)
    tsv = 'premise\thypothesis\tlabel\nIt rains.\tIt is wet.\t0\nShe said "no", twice.\tIt is wet.\t2\n'
    (tmp_path / "a.tsv").write_text(tsv)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.csv", "a.tsv", "a.parquet"):
        assert read_rows(tmp_path / name, MNLI).digest == expected.digest, name
    (tmp_path / "a.csv").write_text(csv + "only one\n")
    with pytest.raises(TaskError, match=r"a.csv, line 4: 1 columns instead of 3: the header names premise, hypothesis"):
        read_rows(tmp_path / "a.csv", MNLI)
    (tmp_path / "a.csv").write_text(csv + '"open,b,0\n')
    with pytest.raises(TaskError, match=r"malformed"):
        read_rows(tmp_path / "a.csv", MNLI)


def test_digest_does_not_depend_on_order_but_on_content(tmp_path: Path) -> None:
    rows = [ROW | {"premise": f"text {i}", "label": i % 3} for i in range(20)]
    one, other = read_rows(write(tmp_path, *rows), MNLI), read_rows(write(tmp_path, *rows[::-1]), MNLI)
    assert one.digest == other.digest
    assert one.examples != other.examples
    assert read_rows(write(tmp_path, *rows[1:]), MNLI).digest != one.digest
    assert read_rows(write(tmp_path, *rows, rows[0]), MNLI).digest != one.digest
    assert read_rows(write(tmp_path, *rows[1:], rows[0] | {"label": 1}), MNLI).digest != one.digest
    assert Example.of(("ab", "c"), 0).digest != Example.of(("a", "bc"), 0).digest


def test_leaks_ignore_case_and_whitespace() -> None:
    train = [Example.of(("The cat  sat.", "It sat."), 0)]
    leak = Example.of(("the CAT sat. ", "it sat."), 2)
    assert find_leaks(train, [leak, Example.of(("The cat sat.", "It ran."), 0)]) == [leak]


def test_jsonl_is_read_fast(tmp_path: Path) -> None:
    path = write(tmp_path, *(ROW | {"premise": f"Somebody said the number {i} in a sentence."} for i in range(30_000)))
    start = time.perf_counter()
    assert len(read_rows(path, MNLI)) == 30_000
    assert time.perf_counter() - start < 2, "meant to be over 50,000 rows a second on a free core"


def test_real_rows(real_rows: Path) -> None:
    sizes = {"mnli": 7469, "qqp": 7600, "sst2": 872, "cb": 56, "boolq": 3270, "wic": 638, "cola": 1043, "qnli": 5463}
    for name, size in sizes.items():
        rows = read_rows(real_rows / name / "validation.jsonl", load_task(name))
        assert isinstance(rows, Rows)
        assert len(rows) == size
        assert min(rows.label_counts().values()) > 0
