from pathlib import Path
from typing import Any

import pytest

from pipelines.architecture import Architecture, FamilyName
from pipelines.backbone import BackboneInfo
from pipelines.errors import PipelineError
from pipelines.methods.dept import parameter_count
from pipelines.recipes import BUDGET, RECIPES, Shape, choose_shape, longest_text


def info(family: FamilyName = "encoder-decoder", position_limit: int | None = None, **changes: Any) -> BackboneInfo:
    fields: dict[str, Any] = {
        "name": "some-t5", "folder": Path(), "d": 768, "embedding_rms": 1.0, "fingerprint": "f",
        "tokenizer_fingerprint": "t",
    }  # fmt: skip
    architecture = Architecture(family, 0, position_limit, counts_padding=False)
    return BackboneInfo(**{**fields, **changes}, architecture=architecture)


def choose(backbone: BackboneInfo | None = None, **given: int | None) -> Shape:
    options: dict[str, Any] = {"s": 256, "m": None, "r": None, "budget": None}
    return choose_shape(backbone or info(), **{**options, **given})


@pytest.mark.parametrize(("m", "r"), [(20, 60), (40, 45), (60, 30), (80, 15)])
@pytest.mark.parametrize("budget", [None, 100])
def test_the_published_budget(m: int, r: int, budget: int | None) -> None:
    assert choose(m=m, budget=budget) == Shape(m, r, 256)
    assert parameter_count(m, r, 256, 768) == 76_800


def test_defaults() -> None:
    assert BUDGET == 100
    assert choose() == Shape(40, 45, 256)
    assert choose(info(family="decoder", d=512), s=128) == Shape(40, (100 - 40) * 512 // (128 + 512), 128)
    assert choose(info(family="encoder", d=384, position_limit=512), s=128) == Shape(20, 16, 128)


def test_what_the_user_gives_comes_first() -> None:
    assert choose(m=3, r=7) == Shape(3, 7, 256)
    assert choose(r=7) == Shape(40, 7, 256)
    assert choose(info(family="encoder"), m=5, budget=50) == Shape(5, 45 * 768 // 1024, 256)
    assert choose(m=0, r=4) == Shape(0, 4, 256)
    assert choose(m=4, r=0) == Shape(4, 0, 256)
    assert choose(m=100, budget=100) == Shape(100, 0, 256)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 100, "r": 5}, r"--budget 100 derives r from m: give --m and leave --r 5 out, or drop --budget"),
        ({"budget": 30}, r"m must lie between 0 and the budget of 30 .* got m=40: lower --m or raise --budget"),
        ({"m": 101}, r"budget of 100 prompt rows, got m=101: lower --m or raise --budget"),
        ({"budget": -1}, r"budget of -1"),
        ({"m": -2, "r": 3}, r"m and r must not be negative, got m=-2"),
        ({"m": 2, "r": -3}, r"m and r must not be negative, got m=2, r=-3"),
        ({"m": 0, "r": 0}, r"leave nothing to train: give --m or --r"),
        ({"m": 0, "budget": 0}, r"leave nothing to train"),
    ],
)
def test_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        choose(**given)


def test_over_the_positions() -> None:
    short = info(family="encoder", position_limit=276)
    assert choose(short, m=20).m == 20
    with pytest.raises(
        PipelineError, match=r"m \+ s = 21 \+ 256 = 277 is over the 276 positions of some-t5; lower --m or --max-length"
    ):
        choose(short, m=21)


def test_every_family_has_a_recipe() -> None:
    assert set(RECIPES) == {"encoder", "encoder-decoder", "decoder"}
    assert all(recipe.alpha1 > 0 and recipe.alpha2 > 0 for recipe in RECIPES.values())
    assert RECIPES["encoder"].head_lr > 0


@pytest.mark.parametrize(
    ("family", "limit", "m", "word", "s"),
    [
        ("encoder", 512, None, 0, 348),  # the task's own length fits
        ("encoder", 360, None, 9, 340),  # the recipe's 20 prompt rows; no label word stands in the sequence
        ("encoder", 360, 30, 0, 330),
        ("decoder", 360, None, 3, 317),
        ("encoder-decoder", None, None, 3, 348),
        ("encoder", 10, 30, 0, 1),  # too many prompt rows: choose_shape says so
    ],
)
def test_a_tasks_own_length_where_it_fits(
    family: FamilyName, limit: int | None, m: int | None, word: int, s: int
) -> None:
    assert longest_text(info(family=family, position_limit=limit), 348, m, word) == s
