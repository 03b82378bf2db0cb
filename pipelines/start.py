"""Where a slot's tensors come from: fresh ones, or a stored artifact made to fit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from pipelines import heads
from pipelines.backbone import Backbone
from pipelines.methods.dept import initial_factors
from pipelines.resize import remap_output_rows, resize_factors
from pipelines.spec import SlotData, SlotSpec
from prompts_store import Artifact
from tasks import match_labels

SCRATCH = "scratch"


def start_tensors(
    spec: SlotSpec,
    data: SlotData,
    backbone: Backbone,
    artifact: Artifact | None = None,
    labels: Mapping[int, int] | None = None,
) -> dict[str, Tensor]:
    """The tensors a slot starts from, float32 on the CPU, drawn by the slot's seed where they are drawn.

    They are for reading: slots of one seed share a head.

    An artifact of other (m, r, s) is resized. An encoder's head keeps its hidden layer where the artifact's takes the
    same features, and its output rows go to the target's classes; what finds no match starts fresh.

    Args:
        spec: The slot.
        data: Its classes.
        backbone: Frozen.
        artifact: What to start from; None for scratch.
        labels: Class of the target -> class of the artifact; by the labels' names if None.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    head: Mapping[str, Tensor] = {}
    if backbone.info.family == "encoder":
        head, state = _fresh_head(backbone.info.d, data.segments, data.outputs, spec.seed)
        generator.set_state(state)
    fresh = initial_factors(
        spec.m, spec.r, spec.s, gamma=spec.gamma, vocabulary=backbone.vocabulary, generator=generator
    )
    tensors = {"prompt": fresh.prompt, "A": fresh.A, "B": fresh.B}
    if artifact is not None:
        prompt, A, B = resize_factors(
            artifact.tensors["prompt"],
            artifact.tensors["A"],
            artifact.tensors["B"],
            artifact.card.gamma,
            m=spec.m,
            r=spec.r,
            s=spec.s,
            new_gamma=spec.gamma,
            fresh_prompt_rows=fresh.prompt,
            generator=generator,
        )
        tensors = {"prompt": prompt, "A": A, "B": B}
    if head and artifact is not None:
        mapping = match_labels(artifact.card.labels, data.labels) if labels is None else labels
        if not data.labels:  # a number's one row comes from a number's
            mapping = {} if artifact.card.labels else {0: 0}
        head = _transferred_head(head, artifact, mapping, data.outputs, generator)
    return tensors | {f"head.{name}": tensor for name, tensor in head.items()}


@lru_cache(maxsize=8)
def _fresh_head(d: int, segments: int, outputs: int, seed: int) -> tuple[Mapping[str, Tensor], Tensor]:
    """What a seed draws for a head, and how that leaves the generator.

    Drawn first, it is the same in every configuration with this seed, and most of the draws of a pack are done once.
    """
    generator = torch.Generator().manual_seed(seed)
    return heads.initial_head(d, segments, outputs, generator), generator.get_state()


def _transferred_head(
    fresh: Mapping[str, Tensor], artifact: Artifact, labels: Mapping[int, int], outputs: int, generator: torch.Generator
) -> Mapping[str, Tensor]:
    stored = artifact.head
    if not stored or stored["hidden.weight"].shape != fresh["hidden.weight"].shape:
        return fresh
    weight, bias = remap_output_rows(stored["output.weight"], stored["output.bias"], labels, outputs, generator)
    return {
        "hidden.weight": stored["hidden.weight"],
        "hidden.bias": stored["hidden.bias"],
        "output.weight": weight,
        "output.bias": bias,
    }
