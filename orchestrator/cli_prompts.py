"""`orchestrator prompts ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.console import make_console

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into the store, and look after it.")

REF = typer.Argument(help="NAME/3, NAME@best, NAME or a task.", metavar="REF")


@app.command("list")
def prompts_list(
    task: Annotated[str | None, typer.Option(help="Only prompts of this task; also of its sample form.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also versions neither best nor latest.")] = False,
) -> None:
    """List stored prompts."""
    from orchestrator.commands.prompts import list_prompts

    list_prompts(task, everything, make_console())


@app.command("show")
def prompts_show(
    ref: Annotated[str, REF],
) -> None:
    """Show a stored prompt: its card, its scores and where it came from."""
    from orchestrator.commands.prompts import show_prompt

    show_prompt(ref, make_console())


@app.command("import")
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

    import_prompt(folder, task, backbone, prompt_only, make_console())


@app.command("export")
def prompts_export(
    ref: Annotated[str, REF],
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Write a stored prompt as a folder that PEFT loads."""
    from orchestrator.commands.exchange import export_prompt

    export_prompt(ref, folder, make_console())


@app.command("find")
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

    find_prompts(task, method, backbone, k, min_score, text, make_console())


@app.command("similar")
def prompts_similar(
    ref: Annotated[str, REF],
    measure: Annotated[
        Literal["mean", "pairs"], typer.Option(help="Cosine of the mean rows, or mean cosine of all pairs of rows.")
    ] = "mean",
    limit: Annotated[int, typer.Option(help="How many to show.", min=1)] = 10,
) -> None:
    """Find the stored prompts of the same backbone that are most like one."""
    from orchestrator.commands.prompts import similar_prompts

    similar_prompts(ref, measure, limit, make_console())


@app.command("promote")
def prompts_promote(
    ref: Annotated[str, REF],
    alias: Annotated[str, typer.Option(help="What to mark it as.")] = "best",
    auto: Annotated[bool, typer.Option("--auto", help="Take a choice back: the best score is best again.")] = False,
) -> None:
    """Choose which version is the best of its name, or give one another mark."""
    from orchestrator.commands.upkeep import promote_prompt

    promote_prompt(ref, alias, auto, make_console())


@app.command("rename")
def prompts_rename(
    name: Annotated[str, typer.Argument(help="A name without a version.")],
    new: Annotated[str, typer.Argument(help="What to call all its versions.")],
) -> None:
    """Rename all versions of a name; the old name goes on meaning them."""
    from orchestrator.commands.upkeep import rename_prompt

    rename_prompt(name, new, make_console())


@app.command("delete")
def prompts_delete(
    ref: Annotated[str, typer.Argument(help="NAME/3.", metavar="REF")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if others started from it.")] = False,
) -> None:
    """Delete a version and its files."""
    from orchestrator.commands.upkeep import delete_prompt

    delete_prompt(ref, force, (lambda _: True) if yes else typer.confirm, make_console())


@app.command("gc")
def prompts_gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, remove nothing.")] = False,
    minutes: Annotated[float, typer.Option(help="Leave alone what was half-written this lately.", min=0)] = 60,
) -> None:
    """Remove versions whose files are missing, and what killed processes left half-written."""
    from orchestrator.commands.upkeep import collect_rubbish

    collect_rubbish(dry_run, minutes, make_console())


@app.command("verify")
def prompts_verify(
    ref: Annotated[str | None, typer.Argument(help="One version. Default: all.", metavar="[REF]")] = None,
) -> None:
    """Check every hash; exits with 1 if anything is wrong."""
    from orchestrator.commands.upkeep import verify_prompts
    from orchestrator.errors import EXIT_FAILED

    if verify_prompts(ref, make_console()):
        raise typer.Exit(EXIT_FAILED)


@app.command("push")
def prompts_push(
    ref: Annotated[str, REF],
    to: Annotated[str, typer.Option(help="Another store: http://SERVER or sqlite:///PATH/mlflow.db.")],
) -> None:
    """Store a prompt, and what it started from, in another store too."""
    from orchestrator.commands.upkeep import push_prompt

    push_prompt(ref, to, make_console())


@app.command("pull")
def prompts_pull(
    ref: Annotated[str, REF],
    origin: Annotated[str, typer.Option("--from", help="Another store: http://SERVER or sqlite:///PATH/mlflow.db.")],
) -> None:
    """Fetch a prompt, and what it started from, from another store."""
    from orchestrator.commands.upkeep import pull_prompt

    pull_prompt(ref, origin, make_console())
