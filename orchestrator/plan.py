"""What a command set out to do, kept with its run, so that it can be taken up again to the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator import __version__
from orchestrator.errors import UsageError
from orchestrator.settings import FewshotSettings, PretrainSettings, Settings

PLAN = "orchestrator.plan"
_TAG_CHARACTERS = 7500
"""MLflow cuts a tag's value at 8,000 characters."""
_COMMANDS: dict[str, type[Settings]] = {"fewshot": FewshotSettings, "pretrain-source": PretrainSettings}


@dataclass(frozen=True)
class Plan:
    """A command and everything it found that may be otherwise by the time it is resumed.

    Attributes:
        command: ``fewshot`` or ``pretrain-source``.
        settings: What the user asked for.
        fingerprint: The backbone's.
        digests: Of the rows of each data set, by name.
        sources: Versions that slots may start from, in order.
        workers: Packs that train at once: they shape the generations of a search.
        version: Of this program.
    """

    command: str
    settings: Settings
    fingerprint: str
    digests: Mapping[str, str]
    sources: tuple[str, ...]
    workers: int
    version: str = __version__

    def tags(self) -> dict[str, str]:
        """As tags of the parent run."""
        return long_tag(PLAN, json.dumps(asdict(self)))

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Plan | None:
        """The plan in a run's tags; None where there is none.

        Raises:
            UsageError: If another version of this program wrote it.
        """
        text = read_long_tag(PLAN, tags)
        if text is None:
            return None
        values: dict[str, Any] = json.loads(text)
        if values["version"] != __version__:
            raise UsageError(
                f"the run was started by version {values['version']} of orchestrator and this is {__version__}: resume "
                "it with that version, or start anew"
            )
        made = _COMMANDS[values["command"]]
        given: dict[str, Any] = values["settings"]
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        values |= {"settings": made(**settings), "sources": tuple(values["sources"])}
        return cls(**values)

    def check_unchanged(self, now: Plan) -> None:
        """Raise a `UsageError` unless what the command finds now is what it found then."""
        changed = []
        if now.fingerprint != self.fingerprint:
            changed.append(f"the backbone's files (fingerprint {self.fingerprint[:12]}, now {now.fingerprint[:12]})")
        for name in sorted(self.digests.keys() | now.digests.keys()):
            then, there = self.digests.get(name, "none"), now.digests.get(name, "none")
            if then != there:
                changed.append(f"the rows of {name} (digest {then}, now {there})")
        if changed:
            raise UsageError(f"cannot resume, because of changes since: {'; '.join(changed)}. Start the command anew")


def long_tag(key: str, text: str) -> dict[str, str]:
    """A text as one or more tags: ``key``, ``key.1``, ``key.2``."""
    pieces = [text[at : at + _TAG_CHARACTERS] for at in range(0, len(text), _TAG_CHARACTERS)]
    return {key if n == 0 else f"{key}.{n}": piece for n, piece in enumerate(pieces)}


def read_long_tag(key: str, tags: Mapping[str, str]) -> str | None:
    """The text that `long_tag` wrote; None where there is none."""
    if key not in tags:
        return None
    pieces = [tags[key]]
    while (more := tags.get(f"{key}.{len(pieces)}")) is not None:
        pieces.append(more)
    return "".join(pieces)
