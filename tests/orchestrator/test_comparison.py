import csv
import math
from pathlib import Path

import pytest

from orchestrator.comparison import COLUMNS, Row, markdown, ordered, print_rows, statistics, write_csv, write_figure
from tests.orchestrator.helpers import console


def row(
    start: str,
    scores: dict[int, float],
    *,
    method: str = "dept",
    k: int = 16,
    backbone: str = "minilm",
    dev: float = 0.5,
) -> Row:
    return Row("cb", backbone, k, start, method, "accuracy", scores, dev, "run")


ROWS = ordered(
    [
        row("scratch", {0: 0.4, 1: 0.5, 2: 0.6}),
        row("mnli", {0: 0.7, 1: 0.7, 2: 0.8}),
        row("mnli", {0: 0.58}, method="zero-shot", k=0),
    ]
)


def test_statistics_by_hand() -> None:
    s = statistics([0.4, 0.5, 0.6])
    assert s.mean == pytest.approx(0.5)
    assert s.std == pytest.approx(0.1)
    # t(0.975, 2) = 4.302653 from the tables; 4.302653 * 0.1 / sqrt(3)
    assert s.half_width == pytest.approx(0.248414, abs=1e-6)
    assert s.interval == pytest.approx((0.251586, 0.748414), abs=1e-6)


def test_two_scores_by_hand() -> None:
    s = statistics([0.2, 0.4])
    # std = 0.2 / sqrt(2), standard error 0.1, t(0.975, 1) = 12.706205
    assert (s.std, s.half_width) == pytest.approx((0.1414214, 1.2706205), abs=1e-6)


def test_one_score_has_no_interval() -> None:
    s = statistics([0.3])
    assert (s.mean, s.std, s.interval) == (0.3, 0.0, None)
    assert math.isinf(s.half_width)


def test_equal_scores_have_an_interval_of_no_width() -> None:
    assert statistics([0.7, 0.7, 0.7]).interval == pytest.approx((0.7, 0.7))


def test_order_is_zero_shot_then_k_then_sources_before_scratch() -> None:
    rows = ordered([row("scratch", {0: 1.0}, k=4), *ROWS, row("zz", {0: 1.0}, k=4), row("a", {0: 1.0}, backbone="b")])
    assert [(r.backbone, r.method, r.k, r.start) for r in rows] == [
        ("b", "dept", 16, "a"),
        ("minilm", "zero-shot", 0, "mnli"),
        ("minilm", "dept", 4, "zz"),
        ("minilm", "dept", 4, "scratch"),
        ("minilm", "dept", 16, "mnli"),
        ("minilm", "dept", 16, "scratch"),
    ]


def test_table_in_percent() -> None:
    to, printed = console()
    print_rows(ROWS, to, test_rows=300)
    lines = printed.getvalue().splitlines()
    assert "cb on minilm (accuracy, %, 300 test rows)" in lines[0]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells == [
        ["mnli", "zero-shot", "–", "1", "58.0", "–", "–", "50.0"],
        ["mnli", "dept", "16", "3", "73.3", "5.8", "59.0 to 87.7", "50.0"],
        ["scratch", "dept", "16", "3", "50.0", "10.0", "25.2 to 74.8", "50.0"],
    ]


def test_backbones_are_told_apart_where_there_are_several() -> None:
    to, printed = console()
    print_rows([*ROWS, row("mnli", {0: 0.9}, backbone="google-t5/t5-base")], to)
    assert "cb on google-t5/t5-base, minilm" in printed.getvalue()
    assert "│ google-t5/t5-base │ mnli" in printed.getvalue()


def test_markdown_has_a_line_per_row() -> None:
    lines = markdown(ROWS, test_rows=300).splitlines()
    assert lines[0] == "**cb on minilm (accuracy, %, 300 test rows)**"
    assert lines[2].startswith("| start | method | k |")
    assert lines[3].startswith("| :-- | :-- | --: |")
    assert lines[4] == "| mnli | zero-shot | – | 1 | 58.0 | – | – | 50.0 |"
    assert len(lines) == 4 + len(ROWS)


def test_csv_has_fractions_and_empty_intervals(tmp_path: Path) -> None:
    write_csv(ROWS, tmp_path / "cb.csv")
    with (tmp_path / "cb.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(COLUMNS)
    assert (read[0]["method"], read[0]["seeds"], read[0]["low"], read[0]["high"]) == ("zero-shot", "1", "", "")
    assert float(read[2]["mean"]) == pytest.approx(0.5)
    assert float(read[2]["low"]) == pytest.approx(0.251586, abs=1e-6)


def test_figure_is_a_png_that_grows_with_the_rows(tmp_path: Path) -> None:
    sizes = []
    for number in (1, 3):
        write_figure(ROWS[:number], tmp_path / f"{number}.png")
        data = (tmp_path / f"{number}.png").read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        sizes.append(int.from_bytes(data[20:24], "big"))
    assert sizes[0] < sizes[1]
