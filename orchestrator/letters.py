"""What is to be written to MLflow runs: as objects, as lines on disk, and sent.

Everything may be sent twice: a metric carries the time it was made at, by which MLflow knows it again, and `deliver`
finds runs that are there by their keys.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from orchestrator.openings import Opening, open_run
from orchestrator.patience import is_temporary, patiently
from orchestrator.spool import Spool
from prompts_store import StoreError
from prompts_store.secrets import without_secrets

log = logging.getLogger(__name__)


@dataclass
class Letter:
    """What is to be written to a run: all of it at once, its end last.

    Attributes:
        run_id: The run, or the key of its opening as long as it is not made.
        params: Its settings.
        metrics: Values with step and time.
        tags: By key.
        texts: Files by name.
        end: MLflow's status and the time in ms, if it is to be closed.
        opening: The run, if it is to be made first.
    """

    run_id: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    end: tuple[str, int] | None = None
    opening: Opening | None = None

    def add(self, later: Letter) -> None:
        """Take in what comes after."""
        self.params |= later.params
        self.metrics += later.metrics
        self.tags |= later.tags
        self.texts |= later.texts
        self.end = later.end or self.end

    def dump(self) -> str:
        """As a line of JSON; `parse` reads it."""
        metrics = [(metric.key, metric.value, metric.timestamp, metric.step) for metric in self.metrics]
        return json.dumps(asdict(replace(self, metrics=[])) | {"metrics": metrics})

    @classmethod
    def parse(cls, line: str) -> Letter:
        """Read what `dump` wrote.

        Raises:
            ValueError: If it is not that.
        """
        try:
            values = json.loads(line)
            values["metrics"] = [Metric(*metric) for metric in values["metrics"]]
            values["end"] = values["end"] and tuple(values["end"])
            values["opening"] = values.get("opening") and Opening(**values["opening"])
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"not a letter: {line[:80]!r}") from error


def send(client: Any, letter: Letter) -> str:
    """Write a letter to MLflow, patiently; returns the run it was about."""
    run_id = open_run(client, letter.opening) if letter.opening else letter.run_id
    params = [Param(key, value) for key, value in letter.params.items()]
    tags = [RunTag(key, value) for key, value in letter.tags.items()]
    for name, text in letter.texts.items():
        patiently(lambda name=name, text=text: client.log_text(run_id, text, name))  # type: ignore[misc]
    patiently(lambda: client.log_batch(run_id, letter.metrics, params, tags))
    if letter.end is not None:
        status, at = letter.end
        patiently(lambda: client.set_terminated(run_id, status, at))
    return run_id


def deliver(client: Any, parent: str) -> int:
    """Send what a dead command had not sent, as far as it is not on record by now.

    Args:
        client: MLflow's client.
        parent: The command's parent run, on which no process is at work.

    Returns:
        How many runs had something coming.

    Raises:
        Exception: What MLflow raised, if the store has been away for too long.
    """
    spool = Spool(parent)
    letters: dict[str, Letter] = {}
    made: dict[str, str] = {}
    for line in spool.read():
        try:
            letter = Letter.parse(line)
        except ValueError as error:
            log.warning("%s is damaged: %s", spool.path, error)
            continue
        if letter.opening:
            with _warned_of_refusals():
                made[letter.run_id] = open_run(client, letter.opening, again=True)
        add_to(letters, replace(letter, run_id=made.get(letter.run_id, letter.run_id), opening=None))
    delivered = 0
    for run_id, letter in letters.items():
        with _warned_of_refusals():
            run = patiently(lambda run_id=run_id: client.get_run(run_id))  # type: ignore[misc]
            if run.info.status != "RUNNING":
                continue  # the command was taken up elsewhere meanwhile
            there = points(client, run_id, {metric.key for metric in letter.metrics})
            letter.metrics = [metric for metric in letter.metrics if (metric.key, metric.step) not in there]
            send(client, letter)
            delivered += 1
    spool.remove()
    return delivered


@contextmanager
def _warned_of_refusals() -> Iterator[None]:
    """A letter that the store refuses for good must not keep others back."""
    try:
        yield
    except Exception as error:
        if is_temporary(error):
            raise
        log.warning("%s; what it was about is trained again", refused(error))


def points(client: Any, run_id: str, keys: Iterable[str]) -> set[tuple[str, int]]:
    """(key, step) of everything that a run has of these metrics."""
    found = set()
    for key in keys:
        history = patiently(lambda key=key: client.get_metric_history(run_id, key))  # type: ignore[misc]
        found |= {(key, point.step) for point in history}
    return found


def add_to(letters: dict[str, Letter], letter: Letter) -> None:
    """Add a letter to those that wait for its run."""
    if letter.run_id in letters:
        letters[letter.run_id].add(letter)
    else:
        letters[letter.run_id] = letter


def refused(error: Exception) -> StoreError:
    """What a person is told of a write that failed for good."""
    return StoreError(f"the MLflow store refused a write: {without_secrets(str(error).strip().split(chr(10))[0])}")
