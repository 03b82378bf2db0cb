"""The optimiser's parameter groups: DePT trains its prompt and its factors at rates of their own."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module, alpha1: float, alpha2: float, rest: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for a torch optimiser, and so for the HF Trainer::

        optimizer = torch.optim.AdamW(parameter_groups(model, alpha1=0.3, alpha2=5e-4))
        Trainer(model, optimizers=(optimizer, None), ...)

    Args:
        model: With DePT adapters.
        alpha1: Learning rate of ``P_s``; published for T5: 0.3 to 0.5.
        alpha2: Learning rate of A and B; published for T5: 1e-4 to 5e-3.
        rest: Of everything else that is trained, such as a classifier or LoRA beside DePT.
        weight_decay: Of all groups; the release trains without.

    Raises:
        ValueError: If nothing of DePT is trainable, or something else is and ``rest`` is missing.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    prompts = [p for name, p in named if ".dept_prompt." in name]
    factors = [p for name, p in named if ".dept_A." in name or ".dept_B." in name]
    others = {name: p for name, p in named if ".dept_" not in name}
    if not prompts and not factors:
        raise ValueError("no DePT adapter is trainable: make one active, or load it with is_trainable=True")
    if others and rest is None:
        raise ValueError(f"{len(others)} other tensors are trained, such as {next(iter(others))}: give rest a rate")
    groups = [(prompts, alpha1), (factors, alpha2), (list(others.values()), rest)]
    return [{"params": params, "lr": lr, "weight_decay": weight_decay} for params, lr in groups if params]
