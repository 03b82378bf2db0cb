"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich would double the time it takes
)


@app.callback()
def _options() -> None:
    """Transfer, multi-task and few-shot orchestration for Decomposed Prompt Tuning (DePT)."""


DATA = typer.Option(help="A folder of tasks, 'hub' or 'sample'. Default: the hub or its cache, else sample tasks.")
BACKBONE = typer.Option(help="'minilm', a hub name or a local folder.")
PROMPT_ROWS = typer.Option("--m", help="Prompt rows m. Default: 20 for encoders, else 40.")
RANK = typer.Option("--r", help="Rank r of the update. Default: 16 for encoders, else what a budget of 100 leaves.")
BUDGET = typer.Option(help="Derive r: as many parameters in all as a plain prompt of so many rows.")
MAX_LENGTH = typer.Option(help="s: texts are cut to so many tokens.")
ALPHA1 = typer.Option(help="Learning rate of the prompt. Default: by backbone and task.")
ALPHA2 = typer.Option(help="Learning rate of A and B. Default: by backbone.")
LABEL_WORDS = typer.Option(help="What a text-to-text backbone answers: the task's words, or digits as released.")
SKIP_BAD_ROWS = typer.Option("--skip-bad-rows", help="Leave malformed rows out and count them, instead of stopping.")
BATCH = typer.Option(help="Rows a step.")
PATIENCE = typer.Option(help="Stop after so many evaluations without improvement; 0 for never.")
EVAL_EVERY = typer.Option(help="Steps between evaluations on dev.")
SEED = typer.Option(help="Every random choice follows from it.")
DTYPE = typer.Option(help="float32 or bfloat16. Default: bfloat16 where the device multiplies it natively.")
WORKERS = typer.Option(help="Packs to train at once. Default: one a GPU, or one for every four CPUs.")
RAY_ADDRESS = typer.Option(help="A Ray cluster: 'auto', host:port or ray://host:port. Default: a local Ray.")


@app.command("pretrain-source")
def pretrain_source(
    tasks: Annotated[str, typer.Option(help="Source tasks, separated by commas.")],
    data: Annotated[str | None, DATA] = None,
    skip_bad_rows: Annotated[bool, SKIP_BAD_ROWS] = False,
    label_words: Annotated[Literal["words", "digits"], LABEL_WORDS] = "words",
    backbone: Annotated[str, BACKBONE] = "minilm",
    steps: Annotated[int, typer.Option(help="Optimiser steps for each task.")] = 600,
    eval_every: Annotated[int, EVAL_EVERY] = 100,
    batch: Annotated[int, BATCH] = 32,
    patience: Annotated[int, PATIENCE] = 0,
    m: Annotated[int | None, PROMPT_ROWS] = None,
    r: Annotated[int | None, RANK] = None,
    budget: Annotated[int | None, BUDGET] = None,
    max_length: Annotated[int, MAX_LENGTH] = 256,
    alpha1: Annotated[float | None, ALPHA1] = None,
    alpha2: Annotated[float | None, ALPHA2] = None,
    seed: Annotated[int, SEED] = 0,
    dtype: Annotated[Literal["float32", "bfloat16"] | None, DTYPE] = None,
    workers: Annotated[int | None, WORKERS] = None,
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
) -> None:
    """Learn a prompt on each source task and store it."""
    from orchestrator.commands.pretrain_source import pretrain_source as command
    from orchestrator.settings import PretrainSettings

    names = tuple(name.strip() for name in tasks.split(","))
    settings = PretrainSettings(
        tasks=names, data=data, skip_bad_rows=skip_bad_rows, label_words=label_words, backbone=backbone, steps=steps,
        eval_every=eval_every, batch=batch, patience=patience, m=m, r=r, budget=budget, max_length=max_length,
        alpha1=alpha1, alpha2=alpha2, seed=seed, dtype=dtype, workers=workers, ray_address=ray_address,
    )  # fmt: skip
    command(settings, _console())


@app.command()
def fewshot(
    target: Annotated[str, typer.Option(help="The target task.")],
    k: Annotated[int, typer.Option(help="Labelled training rows in total.")],
    per_class: Annotated[bool, typer.Option("--per-class", help="Read k as rows per class.")] = False,
    dev: Annotated[Literal["k", "full"], typer.Option(help="Rows to choose by: as many again, or all the rest.")] = "k",
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
    backbone: Annotated[str, BACKBONE] = "minilm",
    steps: Annotated[int, typer.Option(help="Optimiser steps of a configuration.")] = 40,
    eval_every: Annotated[int, EVAL_EVERY] = 10,
    batch: Annotated[int, BATCH] = 32,
    patience: Annotated[int, PATIENCE] = 0,
    halving: Annotated[bool, typer.Option(help="Drop the weaker half at a quarter and a half of the steps.")] = True,
    pack: Annotated[int, typer.Option(help="Configurations that train together in one pass.")] = 4,
    m: Annotated[int | None, PROMPT_ROWS] = None,
    r: Annotated[int | None, RANK] = None,
    budget: Annotated[int | None, BUDGET] = None,
    max_length: Annotated[int, MAX_LENGTH] = 256,
    alpha1: Annotated[float | None, ALPHA1] = None,
    alpha2: Annotated[float | None, ALPHA2] = None,
    seed: Annotated[int, SEED] = 0,
    dtype: Annotated[Literal["float32", "bfloat16"] | None, DTYPE] = None,
    workers: Annotated[int | None, WORKERS] = None,
    ray_address: Annotated[str | None, RAY_ADDRESS] = None,
) -> None:
    """Search for the best way to learn a target from k rows, test it, and store it."""
    from orchestrator.commands.fewshot import fewshot as command
    from orchestrator.settings import FewshotSettings

    settings = FewshotSettings(
        target=target, k=k, per_class=per_class, dev=dev, start=start, trials=trials, seeds=seeds, halving=halving,
        configs_per_pack=pack, protocol=protocol, data=data, skip_bad_rows=skip_bad_rows, label_words=label_words,
        backbone=backbone, steps=steps, eval_every=eval_every, batch=batch,
        patience=patience, m=m, r=r, budget=budget, max_length=max_length, alpha1=alpha1, alpha2=alpha2, seed=seed,
        dtype=dtype, workers=workers, ray_address=ray_address,
    )  # fmt: skip
    command(settings, _console())


@app.command()
def compare(
    target: Annotated[str, typer.Option(help="The target task; also its sample form.")],
    out: Annotated[Path, typer.Option(help="Folder for the CSV files and figures.")] = Path("comparison"),
) -> None:
    """Show what was found for a target: a table, a CSV file and a figure."""
    from orchestrator.commands.compare import compare as command

    command(target, out, _console())


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 5000,
    target: Annotated[str | None, typer.Option(help="Open at this target. Default: the newest few-shot runs.")] = None,
) -> None:
    """Serve MLflow's UI over the store and say which page to open."""
    from orchestrator.commands.ui import ui as command

    command(port, target, _console())


@app.command()
def doctor() -> None:
    """Say what works on this machine, and what to do about what does not."""
    from orchestrator.commands.doctor import doctor as command

    if not command(_console()):
        raise typer.Exit(1)


REF = typer.Argument(help="NAME/3, NAME@best, NAME or a task.", metavar="REF")

prompts_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into the store, and look after it.")
tasks_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into the catalogue of tasks.")
app.add_typer(prompts_app, name="prompts")
app.add_typer(tasks_app, name="tasks")


@prompts_app.command("list")
def prompts_list(
    task: Annotated[str | None, typer.Option(help="Only prompts of this task; also of its sample form.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also versions neither best nor latest.")] = False,
) -> None:
    """List stored prompts."""
    from orchestrator.commands.prompts import list_prompts

    list_prompts(task, everything, _console())


@prompts_app.command("show")
def prompts_show(
    ref: Annotated[str, REF],
) -> None:
    """Show a stored prompt: its card, its scores and where it came from."""
    from orchestrator.commands.prompts import show_prompt

    show_prompt(ref, _console())


@prompts_app.command("import")
def prompts_import(
    folder: Annotated[Path, typer.Argument(help="adapter_config.json and its tensors: the DePT release's or PEFT's.")],
    task: Annotated[str | None, typer.Option(help="What it was trained for. Default: as the folder is called.")] = None,
    backbone: Annotated[str | None, typer.Option(help="What it was trained on. Default: as the folder says.")] = None,
    prompt_only: Annotated[
        bool, typer.Option("--prompt-only", help="Take a prompt without A and B, as prompt tuning.")
    ] = False,
) -> None:
    """Store a prompt that was learned elsewhere."""
    from orchestrator.commands.exchange import import_prompt

    import_prompt(folder, task, backbone, prompt_only, _console())


@prompts_app.command("export")
def prompts_export(
    ref: Annotated[str, REF],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a stored prompt as a folder that PEFT loads."""
    from orchestrator.commands.exchange import export_prompt

    export_prompt(ref, folder, _console())


@prompts_app.command("find")
def prompts_find(
    task: Annotated[str | None, typer.Option(help="Only prompts of this task; also of its sample form.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method, such as dept.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only prompts for this backbone.")] = None,
    k: Annotated[str | None, typer.Option("--k", help="Only few-shot results of this k; 'source' for sources.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Only dev scores of at least this, such as 0.8.")] = None,
    text: Annotated[str | None, typer.Option(help="Only names with this in them.")] = None,
) -> None:
    """Search the stored prompts; the best first."""
    from orchestrator.commands.prompts import find_prompts

    find_prompts(task, method, backbone, k, min_score, text, _console())


@prompts_app.command("similar")
def prompts_similar(
    ref: Annotated[str, REF],
    measure: Annotated[
        Literal["mean", "pairs"], typer.Option(help="Cosine of the mean rows, or mean cosine of all pairs of rows.")
    ] = "mean",
    limit: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
) -> None:
    """Find the stored prompts of the same backbone that are most like one."""
    from orchestrator.commands.prompts import similar_prompts

    similar_prompts(ref, measure, limit, _console())


@prompts_app.command("promote")
def prompts_promote(
    ref: Annotated[str, REF],
    alias: Annotated[str, typer.Option(help="What to mark it as.")] = "best",
    auto: Annotated[bool, typer.Option("--auto", help="Take a choice back: the best score is best again.")] = False,
) -> None:
    """Choose which version is the best of its name, or give one another mark."""
    from orchestrator.commands.upkeep import promote_prompt

    promote_prompt(ref, alias, auto, _console())


@prompts_app.command("rename")
def prompts_rename(
    name: Annotated[str, typer.Argument(help="A name without a version.")],
    new: Annotated[str, typer.Argument(help="What to call all its versions.")],
) -> None:
    """Rename all versions of a name; the old name goes on meaning them."""
    from orchestrator.commands.upkeep import rename_prompt

    rename_prompt(name, new, _console())


@prompts_app.command("delete")
def prompts_delete(
    ref: Annotated[str, typer.Argument(help="NAME/3.", metavar="REF")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if others started from it.")] = False,
) -> None:
    """Delete a version and its files."""
    from orchestrator.commands.upkeep import delete_prompt

    delete_prompt(ref, force, (lambda _: True) if yes else typer.confirm, _console())


@prompts_app.command("gc")
def prompts_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, remove nothing.")] = False,
    minutes: Annotated[float, typer.Option(help="Leave alone what was half-written this lately.", min=0)] = 60,
) -> None:
    """Remove versions whose files are missing, and what killed processes left half-written."""
    from orchestrator.commands.upkeep import collect_rubbish

    collect_rubbish(dry_run, minutes, _console())


@prompts_app.command("verify")
def prompts_verify(
    ref: Annotated[str | None, typer.Argument(help="One version. Default: all.", metavar="[REF]")] = None,
) -> None:
    """Check every hash; exits with 1 if anything is wrong."""
    from orchestrator.commands.upkeep import verify_prompts
    from orchestrator.errors import EXIT_FAILED

    if verify_prompts(ref, _console()):
        raise typer.Exit(EXIT_FAILED)


@prompts_app.command("push")
def prompts_push(
    ref: Annotated[str, REF],
    to: Annotated[str, typer.Option(help="Another store: http://SERVER or sqlite:///PATH/mlflow.db.")],
) -> None:
    """Store a prompt, and what it started from, in another store too."""
    from orchestrator.commands.upkeep import push_prompt

    push_prompt(ref, to, _console())


@prompts_app.command("pull")
def prompts_pull(
    ref: Annotated[str, REF],
    origin: Annotated[str, typer.Option("--from", help="Another store: http://SERVER or sqlite:///PATH/mlflow.db.")],
) -> None:
    """Fetch a prompt, and what it started from, from another store."""
    from orchestrator.commands.upkeep import pull_prompt

    pull_prompt(ref, origin, _console())


@tasks_app.command("list")
def tasks_list() -> None:
    """List the tasks of the catalogue."""
    from orchestrator.commands.tasks import list_tasks

    list_tasks(_console())


@tasks_app.command("show")
def tasks_show(
    name: Annotated[str, typer.Argument(help="A task, or the path of its YAML file.", metavar="NAME")],
    data: Annotated[str | None, typer.Option(help="Take an example from a folder of tasks, 'hub' or 'sample'.")] = None,
) -> None:
    """Show a task: its fields, labels and wording, an example, and the stored sources that fit it."""
    from orchestrator.commands.tasks import show_task

    show_task(name, data, _console())


@tasks_app.command("new")
def tasks_new(
    name: Annotated[str, typer.Argument(help="What the task is to be called.", metavar="NAME")],
    data: Annotated[str, typer.Option(help="The folder with its rows: train.jsonl, .csv, .tsv or .parquet.")],
) -> None:
    """Look at rows of your own and write NAME.yaml, a task file to edit."""
    from orchestrator.commands.tasks import new_task

    new_task(name, data, _console())


@tasks_app.command("check")
def tasks_check(
    name: Annotated[str, typer.Argument(help="The path of a task's YAML file, or a task.", metavar="FILE")],
    data: Annotated[str | None, typer.Option(help="Its rows: a folder, 'hub' or 'sample'.")] = None,
    backbone: Annotated[str, BACKBONE] = "minilm",
    max_length: Annotated[int | None, typer.Option(help="s, in tokens. Default: the task's own.")] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Count and show malformed rows.")] = False,
) -> None:
    """Check a task's file and rows, and show three rows as a model will read them."""
    from orchestrator.commands.check_task import check_task

    check_task(name, data, backbone, max_length, skip_bad_rows, _console())


def _console() -> Console:
    from rich.console import Console

    return Console()


def main() -> None:
    """Run the command line; what a person has to read is one line, not a traceback."""
    from orchestrator.errors import BAD_INPUT, EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, RunFailedError

    try:
        app()
    except BAD_INPUT as error:
        _fail(str(error), EXIT_BAD_INPUT)
    except RunFailedError as error:
        _fail(str(error), EXIT_FAILED)
    except SystemExit as end:  # typer turns Ctrl-C into it
        if end.code != EXIT_INTERRUPTED:
            raise
        _fail("interrupted; runs that were under way are closed as KILLED", EXIT_INTERRUPTED)


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
