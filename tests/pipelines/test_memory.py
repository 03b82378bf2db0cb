import logging

import pytest
import torch

from pipelines.memory import fitting_tokens, free_bytes, held_bytes, is_out_of_memory, slot_bytes
from tests.pipelines.tiny import Tiny, toy_data, toy_slot, toy_spec


def test_errors_that_say_so() -> None:
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(cpu.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_what_a_pass_holds_by_hand() -> None:
    """tanh and exp keep their results; a product with a frozen weight keeps the weight alone, which does not count."""
    weight = torch.randn(100, 100)
    x = torch.randn(7, 100, requires_grad=True)
    assert held_bytes(lambda: (x @ weight).tanh().exp(), [weight]) == 2 * 7 * 100 * 4
    assert held_bytes(lambda: (x @ weight).tanh().exp(), []) == 2 * 7 * 100 * 4 + 100 * 100 * 4


def test_free_memory_is_within_the_machine() -> None:
    assert 0 < free_bytes(torch.device("cpu")) < 2**50


def test_a_pass_that_would_not_fit_is_halved_before_it_is_tried(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    slots = [toy_slot(tiny("bert"), toy_spec(), toy_data(tiny("bert"))) for _ in range(2)]
    own = sum(slot_bytes(slot) for slot in slots)
    assert own == 2 * 5 * 8 * sum(p.numel() for p in slots[0].params.values())
    with caplog.at_level(logging.WARNING):
        assert fitting_tokens(1024, 100, slots, int((own + 2 * 100 * 1024) / 0.9) + 1) == 1024
    assert not caplog.records
    assert fitting_tokens(1024, 100, slots, int((own + 2 * 100 * 600) / 0.9)) == 512
    assert "2 slots and 1024 tokens in a pass would not fit" in caplog.text
    assert fitting_tokens(1024, 100, slots, 0) == 16
