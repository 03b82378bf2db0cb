"""What every training command needs before it trains: rows, backbone, sizes and the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.panel import Panel

from orchestrator.errors import UsageError
from orchestrator.prepare import Prepared, Preparer
from orchestrator.settings import Settings
from pipelines.backbone import BackboneInfo, describe_backbone
from pipelines.methods.dept import scale
from pipelines.recipes import RECIPES, Recipe, Shape, choose_shape, longest_text
from pipelines.spec import SlotData, SlotSpec
from prompts_store import PromptStore
from tasks import ENCODER_FORMS, FORMS, DataSource, Task, open_data

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """Everything that was found for a command.

    Attributes:
        settings: What the user asked for.
        source: Where rows come from.
        info: The backbone.
        shapes: (m, r, s) of each task.
        preparer: Tokenises tasks.
        store: Where prompts and runs are kept.
    """

    settings: Settings
    source: DataSource
    info: BackboneInfo
    shapes: Mapping[str, Shape]
    preparer: Preparer
    store: PromptStore

    @property
    def recipe(self) -> Recipe:
        """The family's settings."""
        return RECIPES[self.info.family]

    def alpha1(self, segments: int) -> float:
        """The user's rate of the prompt, or the recipe's for single texts or pairs."""
        if self.settings.alpha1 is not None:
            return self.settings.alpha1
        relative = self.recipe.alpha1_single if segments == 1 else self.recipe.alpha1
        return relative * self.info.embedding_rms

    @property
    def alpha2(self) -> float:
        """The user's rate of A and B, or the recipe's."""
        return self.recipe.alpha2 if self.settings.alpha2 is None else self.settings.alpha2

    def prompt_room(self, task: str, data: SlotData) -> int | None:
        """Rows that a prompt of a task may have: what texts, and a decoder's answers, leave of the positions.

        None where positions have no limit.
        """
        limit = self.info.architecture.position_limit
        answer = data.answer_limit if self.info.family == "decoder" else 0
        return None if limit is None else limit - self.shapes[task].s - answer

    def check_room(self, prepared: Sequence[Prepared]) -> None:
        """Raise where prompt, texts and answers do not fit into the positions; how long answers are, rows tell."""
        for one in prepared:
            shape, room = self.shapes[one.task.name], self.prompt_room(one.task.name, one.data)
            if room is not None and shape.m > room:
                least = f"use --max-length {shape.s - shape.m + room} or less" if shape.s - shape.m + room > 0 else ""
                raise UsageError(
                    f"m = {shape.m} prompt rows, texts of s = {shape.s} tokens and answers of up to "
                    f"{one.data.answer_limit} of {one.task.name} are over the {self.info.architecture.position_limit} "
                    f"positions of {self.info.name}: {least or 'lower --m'}"
                )

    def spec(
        self, *, key: str, config: int, task: str, data: str, start: str, m: int, r: int, alpha1: float, alpha2: float,
        seed: int, steps: int | None = None,
    ) -> SlotSpec:  # fmt: skip
        """A slot with everything that does not vary within a command filled in."""
        settings = self.settings
        return SlotSpec(
            key=key,
            config=config,
            task=task,
            data=data,
            start=start,
            m=m,
            r=r,
            s=self.shapes[task].s,
            gamma=scale(r, self.recipe.scaling),
            alpha1=alpha1,
            alpha2=alpha2,
            head_lr=self.recipe.head_lr,
            steps=settings.steps if steps is None else steps,
            batch=settings.batch,
            eval_every=settings.eval_every,
            seed=seed,
            patience=settings.patience,
            dropout=settings.dropout,
        )


def set_up(settings: Settings, tasks: Sequence[str], console: Console) -> Setup:
    """Find rows, backbone and store, and check the sizes; prints the notice where rows are not what one expects.

    Raises:
        TaskError, PipelineError, StoreError: What the user gave does not fit; nothing has been written.
    """
    source = open_data(settings.data, tasks, skip_bad=settings.skip_bad_rows)
    log.debug("rows of %s: %s", ", ".join(tasks), source.description)
    info = describe_backbone(settings.backbone)
    log.debug(
        "backbone %s: %s, d=%d, fingerprint %s, in %s", info.name, info.family, info.d, info.fingerprint, info.folder
    )
    _check_scoring(settings.scoring, info)
    for name in tasks:
        _check_form(source.task(name), info)
    scoring = None if settings.scoring == "auto" else settings.scoring
    shipped = settings.ray_address is not None
    preparer = Preparer(source, info, settings.label_words, scoring, shipped=shipped)
    shapes = {task.name: _shape(task, settings, preparer, console) for task in map(source.task, tasks)}
    if source.notice:
        console.print(Panel(source.notice, title="sample data", border_style="bold yellow", style="yellow"))
    return Setup(settings, source, info, shapes, preparer, PromptStore())


def _shape(task: Task, settings: Settings, preparer: Preparer, console: Console) -> Shape:
    info, s = preparer.info, settings.max_length
    if s is None:
        s = longest_text(info, task.max_length, settings.m, preparer.longest_word(task))
        if s < task.max_length:
            console.print(
                f"note: texts of {task.name} are cut at {s} tokens, not the task's {task.max_length}: {info.name} has "
                f"{info.architecture.position_limit} positions, and the prompt takes some",
                highlight=False,
                soft_wrap=True,
            )
    return choose_shape(info, s=s, m=settings.m, r=settings.r, budget=settings.budget)


def _check_form(task: Task, info: BackboneInfo) -> None:
    """An encoder's head reads one text or two; a text-to-text backbone reads any form, in the task's wording."""
    if info.family == "encoder" and task.form not in ENCODER_FORMS:
        raise UsageError(
            f"task {task.name!r} is of the form {task.form!r} ({FORMS[task.form].summary}), which cannot be trained on "
            f"the encoder {info.name}: use a text-to-text backbone, or a task of the form {', '.join(ENCODER_FORMS)}"
        )


def _check_scoring(scoring: str, info: BackboneInfo) -> None:
    if info.family == "encoder" and scoring == "generation":
        raise UsageError(
            f"--scoring generation needs a backbone that answers in words, and {info.name} is an encoder: leave it "
            "out, or use a text-to-text backbone"
        )
