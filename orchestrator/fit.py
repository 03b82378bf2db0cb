"""Which number type, attention and pack suit the machine that packs run on; see `pipelines.fitting`.

The measurement runs once, on a worker with a pack's share of the machine, and all workers of a command take what it
found, so that they compute alike. On one machine it is read back from the cache afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.cluster import Workers
from orchestrator.settings import FewshotSettings, Settings

if TYPE_CHECKING:
    from pipelines.fitting import Fitting, Request
    from pipelines.run import Job

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)
FEWEST_CONFIGS = 4
"""Configurations in a pack at least, so that halving has something to choose from."""


def fit_workers(
    settings: Settings, fingerprint: str, workers: Workers, files: Callable[[], str] | None = None
) -> Fitting:
    """What suits the workers of a command, as far as the user has not said it.

    Args:
        settings: What the user asked for.
        fingerprint: The backbone's.
        workers: Whose share of the machine is measured.
        files: As in a job.
    """
    import ray
    from ray.exceptions import RayError

    from pipelines.fitting import Request, device_here, kept, unmeasured

    request = Request(settings.backbone, fingerprint, workers.threads, settings.dtype, settings.attention)
    forced = None not in (settings.dtype, settings.attention, settings.chunk_tokens)
    here = settings.ray_address is None
    if forced:
        found = unmeasured(request, device_here())
    elif not (here and (found := kept(request, device_here()))):  # type: ignore[assignment]
        _log.info("measuring what suits %s on this machine: about 10 s, once", settings.backbone)
        task = ray.remote(num_cpus=workers.threads, num_gpus=workers.gpus, max_retries=0)(_fit)
        try:
            found = ray.get(task.remote(request, files))
        except RayError as error:
            _log.warning("the machine could not be measured (%s): taking what usually suits it", type(error).__name__)
            found = unmeasured(request, device_here())
    return found if settings.chunk_tokens is None else replace(found, chunk_tokens=settings.chunk_tokens)


def _fit(request: Request, files: Callable[[], str] | None) -> Fitting:
    from pipelines.measurement import fit

    return fit(replace(request, backbone=files()) if files else request)


def fitted(job: Job, fitting: Fitting) -> Job:
    """A job whose workers all compute in this way."""
    return replace(
        job,
        dtype=fitting.dtype,
        attention=fitting.attention,
        chunk_tokens=fitting.chunk_tokens,
        token_bytes=fitting.token_bytes,
    )


def settled(settings: S, fitting: Fitting) -> S:
    """Settings that leave nothing to be measured."""
    given: dict[str, Any] = {name: getattr(fitting, name) for name in ("dtype", "attention", "chunk_tokens")}
    return replace(settings, **given)


def configs_per_pack(settings: FewshotSettings, fitting: Fitting) -> int:
    """Configurations in a pack: what the user said, or as many as fill a pass, and enough for halving."""
    if settings.configs_per_pack is not None:
        return settings.configs_per_pack
    return max(FEWEST_CONFIGS, -(-fitting.slots // settings.seeds))
