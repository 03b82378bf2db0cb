import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines import measurement
from pipelines.backbone import Backbone, describe_backbone
from pipelines.fitting import Fitting, Request, kept, unmeasured
from pipelines.measurement import fit
from prompts_store.cache import cache_folder
from tests.pipelines.tiny import FAMILY_KINDS, TinyFolder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing kept yet, few rows, and time enough on a busy machine."""
    monkeypatch.setattr(measurement, "_rows", lambda _: 16)
    monkeypatch.setattr(measurement, "SECONDS", 250.0)
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def request_for(tiny_folder: TinyFolder) -> Callable[[str], Request]:
    def make(kind: str) -> Request:
        folder = str(tiny_folder(kind))
        return Request(folder, describe_backbone(folder).fingerprint, 1)

    return make


@pytest.fixture
def steered(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[torch.dtype, str, int | None], float]:
    """Seconds that passes are said to take, by number type, attention and tokens in a pass (None: of any size)."""
    seconds: dict[tuple[torch.dtype, str, int | None], float] = {}
    under_way: list[tuple[torch.dtype, str, int]] = []
    real = measurement._pass_over

    def pass_over(pack: measurement.Pack, deadline: float) -> Callable[[], object]:
        backbone: Backbone = pack.backbone
        under_way.append((backbone.dtype, backbone.model.config._attn_implementation, pack.chunk_tokens))
        return real(pack, deadline)

    def timed(work: Callable[[], object], *_: object) -> float:
        if not under_way:
            return 1.0  # of the few rows that say how many there is time for
        dtype, attention, tokens = under_way[-1]
        return seconds.get((dtype, attention, tokens), seconds.get((dtype, attention, None), 1.0))

    monkeypatch.setattr(measurement, "_pass_over", pass_over)
    monkeypatch.setattr(measurement, "_timed", timed)
    return seconds


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_a_real_measurement(request_for: Callable[[str], Request], kind: str) -> None:
    threads = torch.get_num_threads()
    found = fit(request_for(kind))
    ways = {f"{dtype}, {attention}" for dtype in ("float32", "bfloat16") for attention in ("eager", "sdpa")}
    assert found.seconds.keys() == found.agreement.keys() == ways
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert f"{found.dtype}, {found.attention}" in ways
    assert str(found.chunk_tokens) in found.rate
    assert found.agreement["float32, eager"] == pytest.approx(1, abs=1e-5)
    assert found.agreement["float32, sdpa"] == pytest.approx(1, abs=1e-3)
    assert found.token_bytes is not None
    assert found.token_bytes > 16 * 4
    assert torch.get_num_threads() == threads


def test_found_once_and_the_same_from_then_on(
    request_for: Callable[[str], Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for("bert")
    assert kept(request, CPU) is None
    found = fit(request)
    monkeypatch.setattr(measurement, "_measure", None)
    assert fit(request) == kept(request, CPU) == found
    for other in (
        replace(request, fingerprint="another"), replace(request, threads=2), replace(request, dtype="float32"),
    ):  # fmt: skip
        assert kept(other, CPU) is None
    (file,) = (cache_folder() / "fittings").glob("??/*")
    file.write_bytes(file.read_bytes()[:-9])
    assert kept(request, CPU) is None


def test_the_fastest_way_wins(
    request_for: Callable[[str], Request], steered: dict[tuple[torch.dtype, str, int | None], float]
) -> None:
    steered[torch.float32, "sdpa", None] = 0.5
    found = fit(request_for("bert"))
    assert (found.dtype, found.attention) == ("float32", "sdpa")


@pytest.mark.parametrize(("agreement", "dtype"), [(0.9901, "bfloat16"), (0.9899, "float32")])
def test_bfloat16_only_where_its_gradients_agree(
    request_for: Callable[[str], Request],
    steered: dict[tuple[torch.dtype, str, int | None], float],
    monkeypatch: pytest.MonkeyPatch,
    agreement: float,
    dtype: str,
) -> None:
    for attention in ("eager", "sdpa"):
        steered[torch.bfloat16, attention, None] = 0.1
    monkeypatch.setattr(measurement, "_cosine", lambda *_: agreement)
    assert fit(request_for("bert")).dtype == dtype
    forced = fit(replace(request_for("bert"), dtype="bfloat16"))
    assert forced.dtype == "bfloat16"
    assert all(way.startswith("bfloat16") for way in forced.seconds)


def test_the_smallest_pass_near_the_best(
    request_for: Callable[[str], Request], steered: dict[tuple[torch.dtype, str, int | None], float]
) -> None:
    request = replace(request_for("bert"), dtype="float32", attention="eager")
    for tokens, seconds in zip((256, 512, 1024, 2048, 4096), (1.0, 0.52, 0.5, 0.5, 0.6), strict=True):
        steered[torch.float32, "eager", tokens] = seconds
    found = fit(request)
    assert found.chunk_tokens == 512
    assert "4096" in found.rate


def test_a_way_to_text_and_back(request_for: Callable[[str], Request]) -> None:
    found = unmeasured(request_for("bert"), CPU)
    assert Fitting.from_json(found.to_json()) == found
    assert str(found).endswith("1024 tokens in a pass (not measured)")


def test_no_room_to_compare(request_for: Callable[[str], Request], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not measured is not kept either."""
    request = request_for("bert")
    monkeypatch.setattr(measurement, "free_bytes", lambda _: 1000)
    assert fit(request) == unmeasured(request, CPU)
    assert kept(request, CPU) is None


def test_time_is_a_bound(request_for: Callable[[str], Request], monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is over nothing more is begun, and what is known stands and is kept, or every command would wait."""
    late: list[float] = []
    limit = 0.0
    real = measurement.Pack.backward

    def slow(pack: measurement.Pack, *args: object) -> object:
        late.append(time.monotonic() - limit)
        time.sleep(0.02)
        return real(pack, *args)

    monkeypatch.setattr(measurement.Pack, "backward", slow)
    monkeypatch.setattr(measurement, "_rows", lambda _: 64)
    request = request_for("bert")
    usual = unmeasured(request, CPU)
    for seconds in (0.1, 1.0, 2.0):
        limit = time.monotonic() + seconds
        monkeypatch.setattr(measurement, "SECONDS", seconds)
        found = fit(request, again=True)
        # but one row, which says what a token holds
        assert sum(begun > 0 for begun in late) <= 1
        late.clear()
        assert kept(request, CPU) == found
        if seconds == 0.1:
            assert (found.dtype, found.attention, found.chunk_tokens) == (usual.dtype, usual.attention, 1024)
            assert not found.seconds
            assert "too short to measure" in str(found)
        assert found.token_bytes
