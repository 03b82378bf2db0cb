"""The space that a few-shot command searches, from what the user fixed, the backbone and the stored sources."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search import Budget, Range, Space, Start
from orchestrator.settings import AUTO, SCRATCH
from orchestrator.setup import Setup
from orchestrator.starts import Source
from pipelines.recipes import Shape


def search_space(
    setup: Setup, shape: Shape, segments: int, start: str, sources: Sequence[Source], room: int | None
) -> Space:
    """What is searched over: all that the user did not fix. A prompt has at most ``room`` rows; None for no limit."""
    settings = setup.settings
    starts = [Start(s.stored.ref, s.stored.m, s.stored.r) for s in sources]
    if start in (AUTO, SCRATCH) or not starts:
        starts.insert(0, Start(SCRATCH, shape.m, shape.r))
    ms = [s.m for s in starts]
    longest = 2 * max(ms) if room is None else min(2 * max(ms), room)
    m = Range(max(1, min(ms) // 4), shape.m, longest) if settings.m is None else Range.fixed(settings.m)
    r: Range | Budget
    if settings.budget is not None:
        r = Budget(settings.budget, shape.s, setup.info.d)
        m = Range(m.low, m.clip(shape.m), min(m.high, settings.budget))
    elif settings.r is not None:
        r = Range.fixed(settings.r)
    else:
        rs = [s.r for s in starts]
        r = Range(max(1, min(rs) // 4), shape.r, 2 * max(rs))
    alpha1, alpha2 = setup.alpha1(segments), setup.alpha2
    return Space(
        starts=tuple(starts),
        m=m,
        r=r,
        alpha1=Range.around(alpha1, 50, 3) if settings.alpha1 is None else Range.fixed(alpha1),
        alpha2=Range.around(alpha2, 50, 3) if settings.alpha2 is None else Range.fixed(alpha2),
    )
