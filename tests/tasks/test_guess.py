from pathlib import Path

import pytest

from tasks import guess_task, load_task, read_rows, task_names
from tasks._catalogue import parse_task


@pytest.mark.parametrize("name", task_names())
def test_real_rows_are_taken_for_what_they_are(real_rows: Path, name: str) -> None:
    if not (real_rows / name).is_dir():
        pytest.skip(f"no real rows of {name}")
    guess = guess_task(f"my-{name}", real_rows / name)
    task, known = parse_task(guess.text, f"my-{name}"), load_task(name)
    assert task.form == known.form
    assert len(task.labels) == len(known.labels)
    mine, ours = read_rows(guess.file, task), read_rows(guess.file, known)
    assert [example.label for example in mine.examples] == [example.label for example in ours.examples]
    assert [example.answers for example in mine.examples] == [example.answers for example in ours.examples]
    assert [example.value for example in mine.examples] == [example.value for example in ours.examples]
