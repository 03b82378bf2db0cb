"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator import cli_prompts, cli_runs, cli_tasks
from orchestrator.cli_logs import add_log_options
from orchestrator.console import make_console
from orchestrator.logs import set_up_logs

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich would double the time it takes
    epilog="Exit codes: 0 done, 1 failed while running, 2 what was asked for cannot be done, 130 interrupted. Results "
    "go to standard output, logs and progress to standard error; ORCHESTRATOR_LOG sets the level of the logs.",
)

app.add_typer(cli_prompts.app, name="prompts")
app.add_typer(cli_tasks.app, name="tasks")


@app.callback()
def _options() -> None:
    """Transfer, multi-task and few-shot orchestration for Decomposed Prompt Tuning (DePT)."""


DATA = typer.Option(help="A folder of tasks, 'hub' or 'sample'. Default: the hub or its cache, else sample tasks.")
BACKBONE = typer.Option(help="'minilm', a hub name or a local folder.")
PROMPT_ROWS = typer.Option("--m", help="Prompt rows m. Default: 20 for encoders, else 40.")
RANK = typer.Option("--r", help="Rank r of the update. Default: 16 for encoders, else what a budget of 100 leaves.")
BUDGET = typer.Option(help="Derive r: as many parameters in all as a plain prompt of so many rows.")
MAX_LENGTH = typer.Option(help="s: texts are cut to so many tokens. Default: the task's own, 256 for most.")
ALPHA1 = typer.Option(help="Learning rate of the prompt. Default: by backbone and task.")
ALPHA2 = typer.Option(help="Learning rate of A and B. Default: by backbone.")
LABEL_WORDS = typer.Option(help="What a text-to-text backbone answers: the task's words, or digits as released.")
SCORING = typer.Option(
    help="How a text-to-text backbone is judged: by the likelihood of its answers, or by what it generates. "
    "Default: classes by likelihood, all else by generation."
)
SKIP_BAD_ROWS = typer.Option("--skip-bad-rows", help="Leave malformed rows out and count them, instead of stopping.")
BATCH = typer.Option(help="Rows a step.")
PATIENCE = typer.Option(help="Stop after so many evaluations without improvement; 0 for never.")
EVAL_EVERY = typer.Option(help="Steps between evaluations on dev.")
SEED = typer.Option(help="Every random choice follows from it.")
DTYPE = typer.Option(help="What the backbone computes in. Default: measured once; see doctor.")
ATTENTION = typer.Option(help="Implementation of attention. Default: measured once; see doctor.")
CHUNK_TOKENS = typer.Option(help="Tokens in a forward pass at most. Default: measured once; see doctor.")
DROPOUT = typer.Option(help="Share of the input embeddings' numbers that is zero in training.")
WORKERS = typer.Option(help="Packs to train at once. Default: one a GPU, or one for every four CPUs.")
PARALLEL = typer.Option(help="Workers that train one pack together, each on its share of a step's rows.")
CHECKPOINT_EVERY = typer.Option(help="Seconds between checkpoints of what trains; it goes on from there after a crash.")
RAY_ADDRESS = typer.Option(help="A Ray cluster: 'auto', host:port or ray://host:port. Default: a local Ray.")


@app.command("pretrain-source")
def pretrain_source(
    tasks: Annotated[str, typer.Option(help="Source tasks, separated by commas.")],
    data: Annotated[str | None, DATA] = None,
    skip_bad_rows: Annotated[bool, SKIP_BAD_ROWS] = False,
    label_words: Annotated[Literal["words", "digits"], LABEL_WORDS] = "words",
    scoring: Annotated[Literal["auto", "likelihood", "generation"], SCORING] = "auto",
    backbone: Annotated[str, BACKBONE] = "minilm",
    steps: Annotated[int, typer.Option(help="Optimiser steps for each task.")] = 600,
    eval_every: Annotated[int, EVAL_EVERY] = 100,
    batch: Annotated[int, BATCH] = 32,
    patience: Annotated[int, PATIENCE] = 0,
    m: Annotated[int | None, PROMPT_ROWS] = None,
    r: Annotated[int | None, RANK] = None,
    budget: Annotated[int | None, BUDGET] = None,
    max_length: Annotated[int | None, MAX_LENGTH] = None,
    alpha1: Annotated[float | None, ALPHA1] = None,
    alpha2: Annotated[float | None, ALPHA2] = None,
    seed: Annotated[int, SEED] = 0,
    dropout: Annotated[float, DROPOUT] = 0.0,
    dtype: Annotated[Literal["float32", "bfloat16"] | None, DTYPE] = None,
    attention: Annotated[Literal["eager", "sdpa"] | None, ATTENTION] = None,
    chunk_tokens: Annotated[int | None, CHUNK_TOKENS] = None,
    workers: Annotated[int | None, WORKERS] = None,
    parallel: Annotated[int, PARALLEL] = 1,
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
    checkpoint_every: Annotated[float, CHECKPOINT_EVERY] = 60.0,
) -> None:
    """Learn a prompt on each source task and store it."""
    from orchestrator.commands.pretrain_source import pretrain_source as command
    from orchestrator.settings import PretrainSettings

    names = tuple(name.strip() for name in tasks.split(","))
    settings = PretrainSettings(
        tasks=names, data=data, skip_bad_rows=skip_bad_rows, label_words=label_words, scoring=scoring,
        backbone=backbone, steps=steps, eval_every=eval_every, batch=batch, patience=patience, m=m, r=r, budget=budget,
        max_length=max_length, alpha1=alpha1, alpha2=alpha2, seed=seed, dropout=dropout, dtype=dtype,
        attention=attention, chunk_tokens=chunk_tokens, workers=workers, parallel=parallel, ray_address=ray_address,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    command(settings, make_console())


@app.command()
def fewshot(
    target: Annotated[str, typer.Option(help="The target task.")],
    k: Annotated[int, typer.Option(help="Labelled training rows in total.")],
    per_class: Annotated[bool, typer.Option("--per-class", help="Read k as rows per class.")] = False,
    dev: Annotated[
        Literal["k", "full", "none"],
        typer.Option(
            help="Rows to choose by: as many again, all the rest, or none: the published settings, no search."
        ),
    ] = "k",
    protocol: Annotated[
        Literal["balanced", "released"],
        typer.Option(help="How rows are drawn: exact and balanced, or as the DePT release did."),
    ] = "balanced",
    start: Annotated[
        str, typer.Option("--from", help="'auto' (scratch and all stored sources), 'scratch', or a stored source.")
    ] = "auto",
    trials: Annotated[int, typer.Option(help="Configurations to search over.")] = 12,
    seeds: Annotated[int, typer.Option(help="Draws of k rows that each configuration is judged on.")] = 3,
    data: Annotated[str | None, DATA] = None,
    skip_bad_rows: Annotated[bool, SKIP_BAD_ROWS] = False,
    label_words: Annotated[Literal["words", "digits"], LABEL_WORDS] = "words",
    scoring: Annotated[Literal["auto", "likelihood", "generation"], SCORING] = "auto",
    backbone: Annotated[str, BACKBONE] = "minilm",
    steps: Annotated[int, typer.Option(help="Optimiser steps of a configuration.")] = 40,
    eval_every: Annotated[int, EVAL_EVERY] = 8,
    batch: Annotated[int, BATCH] = 32,
    patience: Annotated[int, PATIENCE] = 0,
    halving: Annotated[bool, typer.Option(help="Drop the weaker half at a fifth and two fifths of the steps.")] = True,
    pack: Annotated[
        int | None,
        typer.Option(help="Configurations that train together. Default: as many as fill a pass, at least 4."),
    ] = None,
    m: Annotated[int | None, PROMPT_ROWS] = None,
    r: Annotated[int | None, RANK] = None,
    budget: Annotated[int | None, BUDGET] = None,
    max_length: Annotated[int | None, MAX_LENGTH] = None,
    alpha1: Annotated[float | None, ALPHA1] = None,
    alpha2: Annotated[float | None, ALPHA2] = None,
    seed: Annotated[int, SEED] = 0,
    dropout: Annotated[float, DROPOUT] = 0.0,
    dtype: Annotated[Literal["float32", "bfloat16"] | None, DTYPE] = None,
    attention: Annotated[Literal["eager", "sdpa"] | None, ATTENTION] = None,
    chunk_tokens: Annotated[int | None, CHUNK_TOKENS] = None,
    workers: Annotated[int | None, WORKERS] = None,
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
    checkpoint_every: Annotated[float, CHECKPOINT_EVERY] = 60.0,
) -> None:
    """Search for the best way to learn a target from k rows, test it, and store it."""
    from orchestrator.commands.fewshot import fewshot as command
    from orchestrator.settings import FewshotSettings

    settings = FewshotSettings(
        target=target, k=k, per_class=per_class, dev=dev, start=start, trials=trials, seeds=seeds, halving=halving,
        configs_per_pack=pack, protocol=protocol, data=data, skip_bad_rows=skip_bad_rows, label_words=label_words,
        scoring=scoring, backbone=backbone, steps=steps, eval_every=eval_every, batch=batch, patience=patience,
        m=m, r=r, budget=budget, max_length=max_length, alpha1=alpha1, alpha2=alpha2, seed=seed,
        dropout=dropout, dtype=dtype, attention=attention, chunk_tokens=chunk_tokens,
        workers=workers, ray_address=ray_address,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    command(settings, make_console())


cli_runs.add_to(app)


@app.command()
def compare(
    target: Annotated[str, typer.Option(help="The target task; also its sample form.")],
    out: Annotated[Path, typer.Option(help="Folder for the CSV files and figures.")] = Path("comparison"),
) -> None:
    """Show what was found for a target: a table, a CSV file and a figure."""
    from orchestrator.commands.compare import compare as command

    command(target, out, make_console())


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 5000,
    target: Annotated[str | None, typer.Option(help="Open at this target. Default: the newest few-shot runs.")] = None,
) -> None:
    """Serve MLflow's UI over the store and say which page to open."""
    from orchestrator.commands.ui import ui as command

    command(port, target, make_console())


@app.command()
def bench(
    what: Annotated[
        Literal["all", "step", "packs", "overhead", "search"],
        typer.Option(help="A training step, packs of configurations, what a search costs besides, its whole time."),
    ] = "all",
    backbone: Annotated[
        str, typer.Option(help="A backbone; for step and packs also the shapes t5-small, t5-base and llama-1b.")
    ] = "minilm",
    quick: Annotated[bool, typer.Option("--quick", help="Show that it works, in half a minute.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Keep the numbers in this file.")] = None,
) -> None:
    """Measure how fast training and searching are on this machine; some minutes."""
    from orchestrator.commands.bench import WHAT
    from orchestrator.commands.bench import bench as command

    command(make_console(), what=WHAT if what == "all" else (what,), backbone=backbone, quick=quick, out=out)


@app.command()
def doctor(
    backbone: Annotated[str, BACKBONE] = "minilm",
    measure: Annotated[bool, typer.Option("--measure", help="Measure again what suits the backbone here.")] = False,
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
) -> None:
    """Say what works on this machine, what suits it, and what to do about what does not."""
    from orchestrator.commands.doctor import doctor as command

    if not command(make_console(), ray_address, backbone, measure=measure):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; what a person has to read is one line, not a traceback."""
    from orchestrator.errors import BAD_INPUT, EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, RunFailedError

    try:
        set_up_logs()
        command = typer.main.get_command(app)
        add_log_options(command)
        command()
    except BAD_INPUT as error:
        _fail(error, EXIT_BAD_INPUT)
    except (RunFailedError, OSError) as error:  # a full disk, a file that is gone
        _fail(error, EXIT_FAILED)
    except SystemExit as end:  # typer turns Ctrl-C into it
        if end.code != EXIT_INTERRUPTED:
            raise
        _fail("interrupted; runs that were under way are closed as KILLED", EXIT_INTERRUPTED)
    except Exception as error:
        _show_traceback(error)
        _fail(f"this is a fault in orchestrator itself ({type(error).__name__}): please report it", EXIT_FAILED)


def _fail(message: object, code: int) -> None:
    from prompts_store.secrets import without_secrets

    if isinstance(message, Exception) and logging.getLogger("orchestrator").isEnabledFor(logging.DEBUG):
        _show_traceback(message)
    print(f"error: {without_secrets(str(message))}", file=sys.stderr)
    sys.exit(code)


def _show_traceback(error: Exception) -> None:
    import traceback

    from prompts_store.secrets import without_secrets

    print(without_secrets("".join(traceback.format_exception(error))), file=sys.stderr, end="")
