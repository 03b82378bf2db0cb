"""Every architecture against every behaviour: one table of kinds, one test for each behaviour."""

from __future__ import annotations

import copy
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from safetensors.torch import load_file
from torch import Tensor

from pipelines.peft_dept import BASE, DeptConfig
from tests.pipelines.peft_dept.adapted import (
    SIZES,
    adapted,
    batch,
    decoder_inputs,
    layer_of,
    naive_embeddings,
    naive_read,
    randomise,
    read,
    texts,
    without_dept,
)
from tests.pipelines.tiny import KINDS, build_model, kinds_of

every_kind = pytest.mark.parametrize("kind", list(KINDS))
SIDES = ("right", "left")
LENGTHS = (7, 3, 5)


def real(output: Tensor, inputs: dict[str, Tensor], kind: str) -> list[Tensor]:
    """The rows of an output without padding; a decoder's answer, in an encoder-decoder, has none."""
    if KINDS[kind] == "encoder-decoder":
        return list(output)
    return [row[mask.bool()] for row, mask in zip(output, inputs["attention_mask"], strict=True)]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@every_kind
@pytest.mark.parametrize("side", SIDES)
@torch.no_grad()
def test_equals_the_formula_whatever_the_padding(kind: str, side: str) -> None:
    model, rows = adapted(kind), texts(LENGTHS)
    inputs = batch(rows, side)
    output = read(model, kind, inputs)
    assert len(output) == len(rows)
    if KINDS[kind] != "encoder-decoder":
        assert output.shape[1] == max(LENGTHS)  # the prompt's places are not handed out
    for got, row in zip(real(output, inputs, kind), rows, strict=True):
        close(got, naive_read(model, kind, row))


@every_kind
@pytest.mark.parametrize("sizes", [{"m": 0, "r": 2, "s": 4}, {"m": 2, "r": 0, "s": 4}, {"m": 2, "r": 9, "s": 4}])
@torch.no_grad()
def test_extreme_sizes(kind: str, sizes: dict[str, int]) -> None:
    """No prompt, no update, more rank than positions; texts go on beyond s."""
    model, rows = adapted(kind, **sizes), texts(LENGTHS)
    inputs = batch(rows)
    for got, row in zip(real(read(model, kind, inputs), inputs, kind), rows, strict=True):
        close(got, naive_read(model, kind, row))


@every_kind
@torch.no_grad()
def test_a_batch_without_mask_is_all_text(kind: str) -> None:
    model, rows = adapted(kind), texts([4, 4])
    output = read(model, kind, {"input_ids": torch.stack(rows)})
    for got, row in zip(output, rows, strict=True):
        close(got, naive_read(model, kind, row))


@every_kind
@torch.no_grad()
def test_embeddings_may_be_given_in_place_of_ids(kind: str) -> None:
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    words = layer_of(model)(inputs["input_ids"])
    given = {"inputs_embeds": words, "attention_mask": inputs["attention_mask"]}
    output = model(**given, **decoder_inputs(kind, len(LENGTHS)))
    close(output[0], model(**inputs, **decoder_inputs(kind, len(LENGTHS)))[0])


@every_kind
@torch.no_grad()
def test_disabled_deleted_and_unloaded_is_the_backbone(kind: str) -> None:
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    wanted = read(build_model(kind).double().eval(), kind, inputs)  # type: ignore[arg-type]
    assert not torch.allclose(read(model, kind, inputs), wanted)
    with model.disable_adapter():
        close(read(model, kind, inputs), wanted)
    assert not torch.allclose(read(model, kind, inputs), wanted)
    model.delete_adapter("default")
    bare = model.unload()
    assert type(bare) is type(build_model(kind))
    assert not [name for name, _ in bare.named_parameters() if "dept" in name]
    close(read(bare, kind, inputs), wanted)


@every_kind
@torch.no_grad()
def test_a_deep_copy_stands_alone(kind: str) -> None:
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    wanted, twin = read(model, kind, inputs), copy.deepcopy(model)
    randomise(model, "default", 9)
    close(read(twin, kind, inputs), wanted)
    assert not torch.allclose(read(model, kind, inputs), wanted)


@every_kind
@torch.no_grad()
def test_several_adapters_are_switched_and_deleted(kind: str) -> None:
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    first = read(model, kind, inputs)
    model.add_adapter("second", DeptConfig(m=1, r=4, s=6, scaling="paper"))
    randomise(model, "second", 1)
    close(read(model, kind, inputs), first)
    model.set_adapter("second")
    second = read(model, kind, inputs)
    for got, row in zip(real(second, inputs, kind), texts(LENGTHS), strict=True):
        close(got, naive_read(model, kind, row, adapter="second"))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[2] for name in trained} == {"second"}
    model.delete_adapter("second")
    assert layer_of(model).active_adapters == ["default"]
    close(read(model, kind, inputs), first)
    with pytest.raises(ValueError, match="only one DePT adapter can be active"):
        model.base_model.set_adapter(["default", "second"])


@every_kind
@torch.no_grad()
def test_a_batch_mixes_adapters(kind: str) -> None:
    model = adapted(kind)
    for name, sizes in {"long": (6, 1, 9), "prompt": (2, 0, 3), "delta": (0, 5, 2)}.items():
        m, r, s = sizes
        model.add_adapter(name, DeptConfig(m=m, r=r, s=s))
        randomise(model, name, m)
    names = ["delta", BASE, "default", "long", "prompt", "default"]
    rows = texts([5, 4, 7, 2, 6, 3])
    inputs = batch(rows)
    together = real(read(model, kind, inputs, adapter_names=names), inputs, kind)
    for name, row, got in zip(names, rows, together, strict=True):
        if name == BASE:
            with model.disable_adapter():
                close(got, read(model, kind, batch([row]))[0])
        else:
            model.set_adapter(name)
            close(got, read(model, kind, batch([row]))[0])
    with pytest.raises(
        ValueError, match="unknown adapters other: there are default, long, prompt, delta, and __base__"
    ):
        model(**inputs, adapter_names=["other"] * 6)
    with pytest.raises(ValueError, match="names 4 rows, the batch has 6"):
        read(model, kind, inputs, adapter_names=names[:4])


@every_kind
def test_only_the_factors_are_trained_and_all_of_them(kind: str) -> None:
    model = adapted(kind)
    read(model, kind, batch(texts(LENGTHS))).pow(2).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (".dept_" in name), name
        assert (parameter.grad is not None and bool(parameter.grad.any())) == (".dept_" in name), name


@every_kind
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    gradients: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        model = adapted(kind)
        if checkpointing:
            if not model.get_base_model().supports_gradient_checkpointing:
                pytest.skip(f"{kind} has no gradient checkpointing")
            model.get_base_model().gradient_checkpointing_enable()
        model.train()
        torch.manual_seed(0)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        read(model, kind, batch(texts(LENGTHS)), use_cache=False).pow(2).mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) == 3
    for name, gradient in gradients[0].items():
        close(gradient, gradients[1][name])


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_factors_stay_float32_beside_a_half_precision_backbone(kind: str, dtype: torch.dtype) -> None:
    model = adapted(kind, dtype=dtype)
    factors = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in factors} == {torch.float32}
    before = [p.detach().clone() for p in factors]
    output = read(model, kind, batch(texts(LENGTHS)))
    assert output.dtype == dtype
    optimizer = torch.optim.AdamW(factors, lr=1e-4)
    output.float().pow(2).mean().backward()
    optimizer.step()
    assert all(bool((p - old).abs().max() > 0) for p, old in zip(factors, before, strict=True))
    assert {p.dtype for p in factors} == {torch.float32}


@every_kind
def test_stored_and_loaded(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our tensors alone, as safetensors; loaded frozen or to be trained on, without a network."""
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    wanted = read(model, kind, inputs).detach()
    model.save_pretrained(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / "adapter_model.safetensors").items()}
    d = layer_of(model).weight.shape[1]
    assert shapes == {"dept_prompt": (3, d), "dept_A": (20, 2), "dept_B": (2, d)}
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {name: stored[name] for name in SIZES} == SIZES
    assert stored["peft_type"] == "DEPT"

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for trainable in (False, True):
        loaded = PeftModel.from_pretrained(build_model(kind).double(), str(tmp_path), is_trainable=trainable).eval()
        torch.testing.assert_close(read(loaded, kind, inputs), wanted, rtol=1e-6, atol=1e-6)
        trained = {name.split(".")[-2] for name, p in loaded.named_parameters() if p.requires_grad}
        assert trained == ({"dept_prompt", "dept_A", "dept_B"} if trainable else set())
    small = PeftModel.from_pretrained(build_model(kind).double(), str(tmp_path), low_cpu_mem_usage=True).eval()
    torch.testing.assert_close(read(small, kind, inputs), wanted, rtol=1e-6, atol=1e-6)


def no_network(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError(f"asked for the network: {args}")


@every_kind
def test_lora_beside_it(kind: str, tmp_path: Path) -> None:
    """Both work on one backbone, by the formula, and both are trained; DePT's file holds DePT's tensors alone."""
    bare = inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), build_model(kind).double())
    with torch.no_grad():
        for name, parameter in bare.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    inputs, rows = batch(texts(LENGTHS)), texts(LENGTHS)
    lora_alone = read(bare.eval(), kind, inputs).detach()  # type: ignore[arg-type]
    del bare.peft_config
    model = get_peft_model(bare, DeptConfig(**SIZES)).eval()
    randomise(model, "default", 0)
    output = read(model, kind, inputs)
    for got, row in zip(real(output, inputs, kind), rows, strict=True):
        close(got, naive_read(model, kind, row))
    with without_dept(model):
        close(read(model, kind, inputs), lora_alone)
    output.pow(2).mean().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"dept_prompt", "dept_A", "dept_B"} == {name.split(".")[-2] for name in moved if "dept_" in name}
    assert any("lora_A" in name for name in moved)
    assert not [name for name in moved if "dept_" not in name and "lora_" not in name]
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "adapter_model.safetensors").keys() == {"dept_prompt", "dept_A", "dept_B"}


@every_kind
@torch.no_grad()
def test_a_backbone_may_be_wrapped_again(kind: str, tmp_path: Path) -> None:
    """A stored adapter loaded onto the backbone it was trained on, or a cell of a notebook run twice."""
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    wanted = read(model, kind, inputs)
    model.save_pretrained(tmp_path)
    backbone = model.get_base_model()
    again = PeftModel.from_pretrained(backbone, str(tmp_path)).eval()
    torch.testing.assert_close(read(again, kind, inputs), wanted, rtol=1e-6, atol=1e-6)
    third = get_peft_model(backbone, DeptConfig(**SIZES)).eval()
    randomise(third, "default", 0)
    close(read(third, kind, inputs), wanted)
    close(read(third, kind, inputs, adapter_names=["default"] * 3), wanted)
    bare = third.unload()
    close(read(bare, kind, inputs), read(build_model(kind).double().eval(), kind, inputs))  # type: ignore[arg-type]


@every_kind
@torch.no_grad()
def test_the_text_can_be_named(kind: str) -> None:
    """By a mask of the caller's; an encoder-decoder's and an encoder's update leaves out what it does not name."""
    model, rows, inputs = adapted(kind), texts([6, 6]), batch(texts([6, 6]))
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, :4], mask[1, :2] = True, True
    output = read(model, kind, inputs, text_mask=mask)
    for got, row, text in zip(output, rows, (4, 2), strict=True):
        close(got, naive_read(model, kind, row, text))
    close(read(model, kind, inputs), read(model, kind, inputs, text_mask=torch.ones(2, 6)))  # and is forgotten
    for wrong in (mask[:1], mask[:, :3], mask[0]):
        with pytest.raises(ValueError, match=r"text_mask has shape \(.*\), text and cache have \(2, 6\)"):
            read(model, kind, inputs, text_mask=wrong)
    close(read(model, kind, inputs), read(model, kind, inputs, text_mask=torch.ones(2, 6)))


@every_kind
@torch.no_grad()
def test_what_the_callers_names_must_be(kind: str) -> None:
    model, inputs = adapted(kind), batch(texts([4, 4, 4, 4]))
    for names in (["default"], ["default"] * 2, ["default"] * 8):
        with pytest.raises(ValueError, match=f"names {len(names)} rows, the batch has 4"):
            read(model, kind, inputs, adapter_names=names)
    for nonsense in ("default", []):
        with pytest.raises(ValueError, match="must name the adapter of each row, got"):
            read(model, kind, inputs, adapter_names=nonsense)
    read(model, kind, inputs)  # nothing is left behind


@every_kind
@torch.no_grad()
def test_threads_do_not_meet(kind: str) -> None:
    """Calls of different lengths, adapters and rows at the same time."""
    model = adapted(kind)
    model.add_adapter("long", DeptConfig(m=6, r=1, s=9))
    randomise(model, "long", 1)
    calls = [
        (batch(texts([3 + n, 2])), names) for n, names in enumerate([["long", BASE], ["default"] * 2, ["long"] * 2])
    ]
    wanted = [read(model, kind, inputs, adapter_names=names) for inputs, names in calls]

    def work(n: int) -> bool:
        with torch.no_grad():
            inputs, names = calls[n % 3]
            return torch.allclose(read(model, kind, inputs, adapter_names=names), wanted[n % 3], atol=1e-9)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(60)))


@every_kind
@torch.no_grad()
def test_autocast_rounds_no_embedding(kind: str) -> None:
    """What the backbone is given is the same under autocast, and nothing rounded is kept for later."""
    model, inputs = adapted(kind, dtype=torch.float32), batch(texts(LENGTHS))
    trunk = model.get_base_model()
    trunk = trunk.get_encoder() if KINDS[kind] == "encoder-decoder" else getattr(trunk, "get_decoder", lambda: trunk)()
    trunk = trunk or model.get_base_model()
    seen: list[Tensor] = []
    trunk.register_forward_pre_hook(lambda m, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True)
    with torch.autocast("cpu", torch.bfloat16):
        read(model, kind, inputs)
    wanted = read(model, kind, inputs)
    close(seen[0], seen[1])
    assert seen[0].dtype == torch.float32
    close(wanted, read(model, kind, inputs))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind] != "encoder-decoder"])
@torch.no_grad()
def test_positions_may_be_given(kind: str) -> None:
    """The text's own: the usual ones change nothing, others are moved behind the prompt's."""
    model, rows = adapted(kind), texts([5, 5])
    first = model.base_model.hooks.architecture.first_position
    usual = torch.arange(5) + first
    inputs = batch(rows)
    close(read(model, kind, inputs, position_ids=usual.expand(2, -1)), read(model, kind, inputs))
    turned = usual.flip(0)
    got = read(model, kind, inputs, position_ids=turned[None])
    full = torch.cat([torch.arange(3) + first, turned + 3])[None]
    for n, row in enumerate(rows):
        with without_dept(model):
            output = model.get_base_model()(inputs_embeds=naive_embeddings(model, row, 5)[None], position_ids=full)
        close(got[n], output[0][0, 3:])


@pytest.mark.parametrize("kind", ["bert", "deberta", "roberta"])
@torch.no_grad()
def test_token_types_are_the_texts(kind: str) -> None:
    """The prompt's rows are of type 0."""
    model, rows = adapted(kind), texts(LENGTHS)
    types = 1 if kind == "bert" else 0  # the others have one type alone
    for side in SIDES:
        inputs = batch(rows, side)
        output = read(model, kind, inputs, token_type_ids=torch.full_like(inputs["input_ids"], types))
        for got, row in zip(real(output, inputs, kind), rows, strict=True):
            own = torch.tensor([[0] * 3 + [types] * len(row)])
            with without_dept(model):
                wanted = model.get_base_model()(
                    inputs_embeds=naive_embeddings(model, row, len(row))[None], token_type_ids=own
                )
            close(got, wanted[0][0, 3:])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "t5"])
def test_no_positions_left_is_a_clear_error(kind: str) -> None:
    limit = 62 if kind in ("roberta", "mpnet") else 64
    with pytest.raises(ValueError, match=rf"m \+ s = 10 \+ 60 = 70 is over the {limit} positions of \w+"):
        adapted(kind, m=10, s=60)
    model = adapted(kind, m=10, s=20)
    with pytest.raises(ValueError, match=rf"m \+ s = 10 \+ 55 = 65 is over the {limit} positions of \w+"):
        read(model, kind, batch(texts([55])))


def test_relative_positions_have_no_limit() -> None:
    model = adapted("t5", m=40, s=200, prompt_init="normal")
    assert read(model, "t5", batch(texts([150]))).isfinite().all()


@pytest.mark.parametrize("kind", kinds_of("encoder"))
@torch.no_grad()
def test_hidden_states_and_pooled_output_are_the_texts(kind: str) -> None:
    """A pooler reads the text's own first token, not the prompt's."""
    model, inputs = adapted(kind), batch(texts(LENGTHS))
    output = model(**inputs, output_hidden_states=True)
    assert {tuple(state.shape[:2]) for state in output.hidden_states} == {(3, 7)}
    close(output.hidden_states[-1], output.last_hidden_state)
    pooler = getattr(model.get_base_model(), "pooler", None)
    if pooler is not None:
        close(output.pooler_output, pooler(output.last_hidden_state))
    as_tuple = model(**inputs, return_dict=False)
    close(as_tuple[0], output.last_hidden_state)
    if pooler is not None:
        close(as_tuple[1], output.pooler_output)
