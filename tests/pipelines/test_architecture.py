import pytest
import transformers as t

from pipelines.architecture import architecture_of, check_length, family_of


def test_bare_models_are_known_by_their_type() -> None:
    """A bare model's checkpoint names no task, so its architecture's name does not give the family away."""
    assert family_of(t.LlamaConfig(architectures=["LlamaModel"])) == "decoder"
    assert family_of(t.GPT2Config()) == "decoder"
    assert family_of(t.BertConfig()) == "encoder"
    assert family_of(t.BertConfig(architectures=["BertLMHeadModel"])) == "decoder"
    assert family_of(t.MPNetConfig()) == "encoder"
    assert family_of(t.T5Config()) == "encoder-decoder"


def test_what_is_special_about_some() -> None:
    roberta = architecture_of(t.RobertaConfig(max_position_embeddings=514, pad_token_id=1))
    assert (roberta.first_position, roberta.position_limit) == (2, 512)
    assert architecture_of(t.MPNetConfig()).position_limit is not None  # has relative buckets beside its positions
    assert architecture_of(t.T5Config()).position_limit is None
    assert architecture_of(t.BartConfig()).counts_padding
    assert not architecture_of(t.T5Config()).counts_padding


def test_lengths() -> None:
    check_length(None, 10**6, 10**6)
    check_length(64, 4, 57, 3)
    with pytest.raises(ValueError, match=r"m \+ s = 4 \+ 61 = 65 is over the 64 positions of tiny$"):
        check_length(64, 4, 61, name="tiny")
