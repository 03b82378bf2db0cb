"""Several processes that share a pack's rows end as one would."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.backbone import load_backbone
from pipelines.pack import Pack
from pipelines.parallel import ALONE, Share
from tests.pipelines.tiny import FAMILY_KINDS, TinyFolder, toy_data, toy_slot, toy_spec

SPECS = (  # a step has 5 + 1 + 4 rows: uneven shares of two and of three, and slots without a row in some of them
    toy_spec(key="0", steps=6, batch=5, alpha1=0.01, clip=0.05),
    toy_spec(key="1", config=1, steps=4, batch=1, eval_every=3, m=5, r=0, alpha1=0.01, seed=1, dropout=0.2),
    toy_spec(key="2", config=2, steps=6, batch=4, m=0, r=3, patience=1, seed=2),
    toy_spec(key="3", config=3, steps=6, batch=2, alpha1=1e307, alpha2=1e307, head_lr=1e307),
)

Ends = dict[str, tuple[Any, dict[str, torch.Tensor]]]


def train(folder: Path, share: Share = ALONE) -> Ends:
    torch.set_num_threads(1)
    backbone = load_backbone(str(folder), dtype=torch.float64)
    slots = [toy_slot(backbone, spec, toy_data(backbone, rows=9, seed=spec.seed)) for spec in SPECS]
    pack = Pack(backbone, slots, share=share)
    pack.judge(slots)
    while pack.training:
        pack.step()
    return {
        slot.spec.key: (
            (slot.step, slot.status, slot.stale, slot.loss, slot.best.step if slot.best else None),
            slot.state().tensors | {"quality": torch.tensor([slot.dev.score, slot.dev.log_likelihood]).double()}
            if slot.dev
            else {},
        )
        for slot in slots
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "kinds"), [(2, FAMILY_KINDS), (3, ["bert"])])
def test_as_one_process_would(tiny_folder: TinyFolder, tmp_path: Path, size: int, kinds: Sequence[str]) -> None:
    folders = [tiny_folder(kind) for kind in kinds]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    out: Any = context.Manager().Queue()
    processes = [
        context.Process(target=_process, args=(rank, size, str(tmp_path / "store"), folders, out))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = dict(out.get(timeout=200) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for number, folder in enumerate(folders):
        alone = train(folder)
        assert {values[1] for values, _ in alone.values()} >= {"finished"}
        for rank in range(size):
            assert found[rank][number].keys() == alone.keys()
            for key, (values, tensors) in found[rank][number].items():
                expected, by_one = alone[key]
                assert values[:3] == expected[:3]
                assert values[4] == expected[4]
                assert values[3] == pytest.approx(expected[3], abs=1e-10, nan_ok=True)
                for name, tensor in tensors.items():
                    rtol = 1e-9 if values[1] == "diverged" else 0  # tensors of size 1e307
                    torch.testing.assert_close(tensor, by_one[name], rtol=rtol, atol=1e-10, equal_nan=True)
                    # and to the bit the same as in the first process
                    assert torch.equal(tensor, found[0][number][key][1][name])


def _process(rank: int, size: int, store: str, folders: list[Path], out: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    out.put((rank, [train(folder, Share(rank, size)) for folder in folders]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 5))
def test_shares_cover_all_rows_once(lengths: list[int], size: int) -> None:
    shares = [Share(rank, size).mine(lengths) for rank in range(size)]
    assert sorted(i for share in shares for i in share) == list(range(len(lengths)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    tokens = [sum(lengths[i] for i in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths, default=0)


def test_a_rank_beyond_the_size_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to size - 1 = 1, got 2"):
        Share(2, 2)
