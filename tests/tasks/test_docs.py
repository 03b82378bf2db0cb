"""The example in the docs is a task."""

import re
from pathlib import Path

from tasks import FORMS, METRICS, read_rows
from tasks._catalogue import _TYPES, parse_task

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def example() -> str:
    block = PAGE.partition("## The file\n")[2].partition("\nPut `yes`")[0]
    return "\n".join(line[4:] for line in block.splitlines())


def test_the_example_is_a_task(tmp_path: Path) -> None:
    task = parse_task(example(), "reviews")
    assert task.labels == ("unhappy", "happy")
    (tmp_path / "train.jsonl").write_text('{"text": "Fine.", "label": 1}')
    assert task.answer(read_rows(tmp_path / "train.jsonl", task).examples[0]) == "yes"


def test_every_key_form_and_metric_is_told() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE)) | {line.partition(":")[0] for line in example().splitlines()}
    assert set(_TYPES) <= told
    assert set(FORMS) | set(METRICS) <= told
