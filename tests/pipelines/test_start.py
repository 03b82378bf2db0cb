from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.heads import HEAD, initial_head
from pipelines.methods.dept import initial_factors
from pipelines.spec import SlotData
from pipelines.start import start_tensors
from prompts_store import Artifact, Card
from tests.pipelines.tiny import D, Tiny, toy_data, toy_spec


def make_artifact(
    family: str = "encoder", labels: Sequence[str] = ("label 0", "label 1", "label 2"), segments: int = 2,
    m: int = 4, r: int = 3, s: int = 24, gamma: float = 1.3,
) -> Artifact:  # fmt: skip
    card: dict[str, Any] = {
        "task": "source", "task_version": 1, "labels": list(labels), "backbone": "tiny",
        "backbone_fingerprint": "a" * 64, "tokenizer_fingerprint": "b" * 64, "family": family, "d": D, "m": m, "r": r,
        "s": s, "gamma": gamma, "head": HEAD if family == "encoder" else None, "alpha1": 0.1, "alpha2": 0.1,
        "steps": 1, "batch": 1, "seed": 0, "metric": "accuracy", "dev_score": 0.5, "rows_train": 1,
        "data_source": "toy", "data_digest": "c", "orchestrator_version": "0",
    }  # fmt: skip
    generator = torch.Generator().manual_seed(42)
    tensors = {"prompt": torch.randn(m, D, generator=generator), "A": torch.randn(s, r, generator=generator)}
    tensors["B"] = torch.randn(r, D, generator=generator)
    if family == "encoder":
        head = initial_head(D, segments, len(labels), generator)
        tensors |= {f"head.{name}": tensor for name, tensor in head.items()}
    return Artifact(Card(**card), tensors)


def test_a_seed_draws_one_head_for_all_configurations(tiny: Tiny) -> None:
    """And what it draws is one stream, head first, whatever was drawn before in this process."""
    backbone = tiny("bert")
    data = toy_data(backbone, classes=3)
    for m, r in ((4, 3), (6, 2), (4, 3)):
        spec = toy_spec(m=m, r=r, seed=11)
        tensors = start_tensors(spec, data, backbone)
        generator = torch.Generator().manual_seed(11)
        head = initial_head(D, data.segments, 3, generator)
        factors = initial_factors(m, r, spec.s, gamma=spec.gamma, vocabulary=backbone.vocabulary, generator=generator)
        expected = {"prompt": factors.prompt, "A": factors.A, "B": factors.B}
        expected |= {f"head.{name}": tensor for name, tensor in head.items()}
        assert tensors.keys() == expected.keys()
        assert all(tensors[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_scratch(tiny: Tiny, kind: str) -> None:
    backbone = tiny(kind)
    data = toy_data(backbone, classes=3)
    one, same, other = (start_tensors(toy_spec(m=4, r=3, seed=seed), data, backbone) for seed in (1, 1, 2))
    assert {name: tuple(one[name].shape) for name in ("prompt", "A", "B")} == {
        "prompt": (4, D), "A": (24, 3), "B": (3, D),
    }  # fmt: skip
    assert all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in one.values())
    assert not one["B"].any()
    vocabulary = backbone.vocabulary.float()
    assert all(bool((vocabulary == row).all(1).any()) for row in one["prompt"])
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["A"], other["A"])
    heads = {name: tuple(tensor.shape) for name, tensor in one.items() if name.startswith("head.")}
    assert heads == (
        {"head.hidden.weight": (256, 4 * D), "head.hidden.bias": (256,), "head.output.weight": (3, 256),
         "head.output.bias": (3,)}
        if kind == "bert" else {}
    )  # fmt: skip


def test_scratch_is_no_view_of_the_backbone(tiny: Tiny) -> None:
    backbone = tiny("bert")
    before = backbone.vocabulary.clone()
    start_tensors(toy_spec(), toy_data(backbone), backbone)["prompt"].fill_(7.0)
    assert torch.equal(backbone.vocabulary, before)


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_an_artifact_of_the_same_sizes_comes_as_it_is(tiny: Tiny, kind: str) -> None:
    backbone = tiny(kind)
    artifact = make_artifact(backbone.info.family)
    tensors = start_tensors(toy_spec(m=4, r=3), toy_data(backbone, classes=3), backbone, artifact)
    assert set(tensors) == set(artifact.tensors)
    assert all(torch.equal(tensors[name], artifact.tensors[name]) for name in tensors)
    assert all(tensors[name].data_ptr() != artifact.tensors[name].data_ptr() for name in ("prompt", "A", "B"))


def test_an_artifact_of_other_sizes_is_resized(tiny: Tiny) -> None:
    backbone = tiny("bert")
    artifact = make_artifact(gamma=0.5)
    spec = toy_spec(m=6, r=5, s=30, gamma=2.0, seed=3)
    tensors = start_tensors(spec, toy_data(backbone, classes=3), backbone, artifact)
    assert [tuple(tensors[name].shape) for name in ("prompt", "A", "B")] == [(6, D), (30, 5), (5, D)]
    assert torch.equal(tensors["prompt"][:4], artifact.tensors["prompt"])
    vocabulary = backbone.vocabulary.float()
    assert all(bool((vocabulary == row).all(1).any()) for row in tensors["prompt"][4:])
    update = 2.0 * tensors["A"] @ tensors["B"]
    torch.testing.assert_close(update[:24], 0.5 * artifact.tensors["A"] @ artifact.tensors["B"])
    assert not update[24:].any()


def test_a_smaller_rank_is_the_best_approximation(tiny: Tiny) -> None:
    artifact = make_artifact("decoder", r=6)
    tensors = start_tensors(toy_spec(m=2, r=2, s=10), toy_data(tiny("llama")), tiny("llama"), artifact)
    u, sigma, v = torch.linalg.svd(1.3 * artifact.tensors["A"][:10] @ artifact.tensors["B"], full_matrices=False)
    torch.testing.assert_close(1.3 * tensors["A"] @ tensors["B"], u[:, :2] * sigma[:2] @ v[:2], rtol=1e-4, atol=1e-4)
    assert torch.equal(tensors["prompt"], artifact.tensors["prompt"][:2])


def target(data: SlotData, labels: Sequence[str]) -> SlotData:
    return replace(data, labels=tuple(labels))


def test_head_rows_go_to_the_classes_of_the_same_name(tiny: Tiny) -> None:
    backbone = tiny("bert")
    artifact = make_artifact(labels=("entailment", "neutral", "contradiction"))
    data = target(toy_data(backbone, classes=3), ("Contradiction", "entailment", "unheard_of", "neutral"))
    tensors = start_tensors(toy_spec(m=4, r=3), data, backbone, artifact)
    stored = artifact.head
    for name in ("hidden.weight", "hidden.bias"):
        assert torch.equal(tensors[f"head.{name}"], stored[name])
    for name in ("output.weight", "output.bias"):
        rows = tensors[f"head.{name}"]
        assert len(rows) == 4
        assert torch.equal(rows[[0, 1, 3]], stored[name][[2, 0, 1]])
        assert not torch.isclose(stored[name], rows[2]).flatten(1 - (rows.ndim == 1)).all(-1).any()
    assert float(tensors["head.output.weight"][2].abs().max()) <= 1 / math.sqrt(256)


@pytest.mark.parametrize(("source", "form"), [(1, "pair"), (2, "single")])
def test_a_head_of_other_features_is_fresh(tiny: Tiny, source: int, form: str) -> None:
    backbone = tiny("bert")
    data = toy_data(backbone, form=form, classes=3)
    artifact = make_artifact(segments=source)
    tensors = start_tensors(toy_spec(m=4, r=3), data, backbone, artifact)
    assert torch.equal(tensors["prompt"], artifact.tensors["prompt"])
    assert tensors["head.hidden.weight"].shape == (256, D if form == "single" else 4 * D)
    assert not torch.equal(tensors["head.output.weight"], artifact.head["output.weight"])
    assert not torch.equal(tensors["head.hidden.bias"], artifact.head["hidden.bias"])


def test_what_is_drawn_follows_the_seed(tiny: Tiny) -> None:
    backbone = tiny("bert")
    data = target(toy_data(backbone), ("label 0", "unheard of"))
    one, same, other = (
        start_tensors(toy_spec(m=9, r=7, seed=seed), data, backbone, make_artifact()) for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    for name, place in (("prompt", slice(4, 9)), ("head.output.weight", slice(1, 2))):
        assert not torch.equal(one[name][place], other[name][place])
    assert not torch.equal(one["A"][:, 3:], other["A"][:, 3:])


def test_a_numbers_output_row_comes_from_a_number_alone(tiny: Tiny) -> None:
    backbone = tiny("bert")
    data = toy_data(backbone, form="regression")
    numbers = make_artifact(labels=())
    numbers = Artifact(
        numbers.card,
        {
            **numbers.tensors,
            "head.output.weight": torch.full((1, 256), 0.5),
            "head.output.bias": torch.full((1,), 0.25),
        },
    )
    tensors = start_tensors(toy_spec(m=4, r=3), data, backbone, numbers, {})
    assert torch.equal(tensors["head.output.weight"], numbers.tensors["head.output.weight"])
    assert torch.equal(tensors["head.hidden.weight"], numbers.tensors["head.hidden.weight"])
    fresh = start_tensors(toy_spec(m=4, r=3), data, backbone, make_artifact(), {})
    assert tensors["head.output.weight"].shape == fresh["head.output.weight"].shape == (1, 256)
    assert torch.equal(fresh["head.hidden.weight"], make_artifact().tensors["head.hidden.weight"])
