"""Inputs made to break what reads them: valid ones, changed in their structure or their bytes, and bytes of no meaning.

Each target writes one input and reads it as the commands do. Reading must give a result or one of the errors a person
is meant to read, within `SECONDS`; anything else is a fault. `tests/test_fuzz.py` tries some hundreds of each,
`python -m tests.bench.fuzz` thousands.
"""

import io
import json
import signal
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from orchestrator.errors import BAD_INPUT
from pipelines.fingerprint import weights_fingerprint
from pipelines.folders import read_adapter
from prompts_store import StoreError, load_artifact
from prompts_store.files import CARD_FILE, TENSORS_FILE, sha256
from prompts_store.versions import TAG, read_versions, version_tags
from tasks import load_task, read_rows
from tasks._catalogue import CATALOGUE
from tests.prompts_store.conftest import make_artifact, make_card

SECONDS = 10

NASTY_TEXT = (
    *("", "\0", "\x1f", "\ud800", "²", "é" * 3, "../../etc/passwd", "x" * 10_000, "a" * 200_000, "\u2028", "\ufeff"),
    *("{field.__class__}", "{0}", "{}", "{premise:>9999999999}", "{premise!r}", "{premise[0]}", "{", "}}", "%s%n"),
    *("nan", "-1", "1e999", "9" * 5000, "[1", '{"a":', "-", "None", "true"),
)
NASTY_YAML = (
    *("!!python/object/apply:os.system ['true']", "!!int x", "!!timestamp x", "!!binary /", "!!float", "!x y"),
    *("2001-99-99", "0o9", "1:99:99", ".nan", ".inf", "-.inf", "~", "=", "<<: {a: b}", "? [a]\n: b", "{[a]: b}", "|\n"),
    *("&a [*a]", "*a", "[" * 3000, "{" * 3000, "- " * 3000, "9" * 5000, "1e999"),
    *("\t", "%YAML 9.9\n---\n", "\0", "\x85"),
    "a: &a [x,x,x,x,x]\n" + "".join(f"{n}: &{n} [*{b},*{b},*{b},*{b},*{b},*{b}]\n" for b, n in pairwise("abcdefghi")),
)  # fmt: skip
HUGE = "a number of 5,000 digits"
"""Stands for one, which Python itself cannot print."""
NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**53 + 1, 2**64, -(2**70), 10**400, 1.5, 1e308, float("nan"), float("inf"), -0.0]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.just(HUGE), st.sampled_from(NASTY_TEXT), st.text(st.characters(), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
DEEP = ("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000)


def changed(valid: bytes) -> st.SearchStrategy[bytes]:
    """A file with some of its bytes cut out, put in, doubled or set to something else, or bytes of no meaning."""
    place = st.integers(0, len(valid))
    edit = st.tuples(
        place, st.integers(0, 40), st.one_of(st.binary(max_size=12), st.just(b"\xff" * 8), st.just(b"\0" * 8))
    )
    return st.one_of(
        st.lists(edit, min_size=1, max_size=4).map(lambda edits: _edited(valid, edits)),
        place.map(lambda end: valid[:end]),
        st.binary(max_size=200),
    )


def _edited(valid: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, new in edits:
        valid = valid[:start] + new + valid[start + length :]
    return valid


def changed_object(valid: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some values set to others, keys left out or put in."""
    keys = st.one_of(st.sampled_from(sorted(valid)), st.text(max_size=8))
    changes = st.dictionaries(keys, st.one_of(VALUES, st.just(...)), min_size=1, max_size=4)
    return changes.map(lambda made: {k: v for k, v in ({**valid, **made}).items() if v is not ...})


def as_json(value: Any) -> bytes:
    """JSON as Python writes it, with NaN, lone surrogates and numbers of any length."""
    return json.dumps(value).replace(f'"{HUGE}"', "9" * 5000).encode()


# ---- task files -----------------------------------------------------------------------------------------------------

YAML_FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(CATALOGUE.glob("*.yaml"))}


@st.composite
def task_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """(stem, bytes): a file of the catalogue with values, lines or bytes changed."""
    stem = draw(st.sampled_from(sorted(YAML_FILES)))
    text = YAML_FILES[stem]
    if draw(st.integers(0, 3)) == 0:
        return stem, draw(changed(text.encode()))
    lines = text.split("\n")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        value = draw(st.one_of(st.sampled_from(NASTY_YAML), st.sampled_from(NASTY_TEXT), st.text(max_size=10)))
        key = lines[at].partition(":")[0]
        lines[at] = draw(st.sampled_from([f"{key}: {value}", f'{key}: "{value}"', value, lines[at] + value, ""]))
    return stem, "\n".join(lines).encode("utf-8", "surrogatepass")


def try_task_file(made: tuple[str, bytes], folder: Path) -> None:
    path = folder / f"{made[0]}.yaml"
    path.write_bytes(made[1])
    task = load_task(path)
    assert task.columns
    read_one = folder / "train.jsonl"
    read_one.write_bytes(as_json(dict.fromkeys(task.columns, "0")) + b"\n")
    for example in read_rows(read_one, task, skip_bad=False).examples:
        task.render(example)
        task.answer(example)


# ---- row files ------------------------------------------------------------------------------------------------------

TASKS = ("cb", "stsb", "squad", "copa", "wsc")
ROW = {
    "premise": "It rains.",
    "hypothesis": "It is wet.",
    "label": 0,
    "sentence1": "A cat.",
    "sentence2": "A dog.",
    "question": "Who?",
    "context": "Ada wrote it.",
    "answers": {"text": ["Ada"]},
    "choice1": "a",
    "choice2": "b",
    "text": "Ada met Bob",
    "span1_text": "Ada",
    "span2_text": "Bob",
    "span1_index": 0,
    "span2_index": 2,
    "idx": 1,
}


@st.composite
def row_files(draw: st.DrawFn) -> tuple[str, str, bytes, bool]:
    """(task, ending, bytes, whether bad rows are skipped)."""
    ending = draw(st.sampled_from(["jsonl", "csv", "tsv", "parquet"]))
    rows = draw(st.lists(st.one_of(st.just(ROW), changed_object(ROW)), min_size=1, max_size=4))
    data = {"jsonl": _jsonl, "csv": _delimited, "tsv": _delimited, "parquet": _parquet}[ending](rows)
    if ending == "jsonl" and draw(st.integers(0, 9)) == 0:
        data += draw(st.sampled_from(DEEP)).encode()
    if draw(st.booleans()):
        data = draw(changed(data))
    return draw(st.sampled_from(TASKS)), ending, data, draw(st.booleans())


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"\n".join(as_json(row) for row in rows)


def _delimited(rows: list[dict[str, Any]]) -> bytes:
    header = list(rows[0])
    lines = [
        "\t".join(header),
        *("\t".join(f"{row.get(name, '')!s:.300000}" for name in header) for row in rows),
    ]
    return "\n".join(lines).replace("\t", "," if len(rows) % 2 else "\t").encode("utf-8", "surrogatepass")


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    columns = {}
    for name in rows[0]:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pyarrow.array(values)
        except (pyarrow.ArrowException, ValueError, OverflowError, TypeError, UnicodeEncodeError):
            columns[name] = pyarrow.array([2**63 - 1] * len(values), pyarrow.timestamp("s"))  # no date of Python's
    written = io.BytesIO()
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), written)
    except (pyarrow.ArrowException, ValueError):  # a name that is not Unicode, an empty struct
        return b"PAR1"
    return written.getvalue()


def try_row_file(made: tuple[str, str, bytes, bool], folder: Path) -> None:
    name, ending, data, skip = made
    path = folder / f"train.{ending}"
    path.write_bytes(data)
    task = load_task(name)
    for example in read_rows(path, task, skip_bad=skip).examples:
        task.render(example).encode()
        task.answer(example)


# ---- stored artifacts and their tags --------------------------------------------------------------------------------

ARTIFACT = make_artifact()
TENSORS = save(dict(ARTIFACT.tensors))
CARD = make_card(tensors_sha256=sha256(TENSORS)).model_dump()


@st.composite
def artifacts(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(card, tensors); the hash fits mostly, or nothing behind it would be reached."""
    tensors = draw(st.one_of(st.just(TENSORS), changed(TENSORS), safetensors_headers()))
    card = CARD | {"tensors_sha256": sha256(tensors)}
    made = draw(st.one_of(st.just(card), changed_object(card)))
    data = as_json(made)
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.one_of(changed(data), st.sampled_from(DEEP).map(str.encode)))
    return data, tensors


@st.composite
def safetensors_headers(draw: st.DrawFn) -> bytes:
    """A file whose header says what is not so: its own length, or the tensors' types, shapes and places."""
    size = int.from_bytes(TENSORS[:8], "little")
    header = json.loads(TENSORS[8 : 8 + size])
    name = draw(st.sampled_from(sorted(header)))
    entry = {"dtype": "F32", "shape": [3, 8], "data_offsets": [0, 96]}
    header[name] = draw(st.one_of(changed_object(entry), VALUES))
    text = draw(st.one_of(st.just(as_json(header)), st.sampled_from(DEEP).map(str.encode)))
    length = draw(st.sampled_from([len(text), 0, len(text) + 1, 2**31, 2**63 - 1, 2**64 - 1]))
    return struct.pack("<Q", length) + text + TENSORS[8 + size :]


def try_artifact(made: tuple[bytes, bytes], folder: Path) -> None:
    (folder / CARD_FILE).write_bytes(made[0])
    (folder / TENSORS_FILE).write_bytes(made[1])
    assert load_artifact(folder).tensors


def try_backbone_weights(data: bytes, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(data)
    assert len(weights_fingerprint(folder)) == 64


TAGS = version_tags(make_card(tensors_sha256="d" * 64), card_sha256="e" * 64, model_id="m-1")


def tags() -> st.SearchStrategy[bytes]:
    """The registry's one tag of a version, changed; a registry is shared with others."""
    text = TAGS[TAG].encode()
    return st.one_of(changed_object(json.loads(text)).map(as_json), changed(text), st.just(text))


def try_tag(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    version = SimpleNamespace(name="dept-minilm-mnli", version="3", run_id="", source="", tags={TAG: text})
    if not read_versions([version], {}):
        raise StoreError("left out of what is listed")


# ---- folders of other people ----------------------------------------------------------------------------------------

CONFIG = {
    "peft_type": "PROMPT_TUNING_LORA",
    "base_model_name_or_path": "t5-base",
    "num_virtual_tokens": 3,
    "r": 2,
    "lora_alpha": 8,
    "max_length": 5,
    "gamma": 1.0,
    "scaling": "released",
    "s": 5,
}
KEYS = ("prompt_embeddings", "prompt_encoder.lora_embedding_A", "prompt_encoder.lora_embedding_B")
FACTORS = dict(zip(KEYS, (ARTIFACT.tensors[name].clone() for name in ("prompt", "A", "B")), strict=True))


def _pickled(value: Any) -> bytes:
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()


RELEASED = _pickled(FACTORS)
WEIGHTS = save(FACTORS)
OTHERS = [_pickled(value) for value in ([1, 2], {"prompt_embeddings": 3}, {1: torch.zeros(2)}, torch.zeros(2, 2), None)]
ODD = [
    save({**FACTORS, KEYS[0]: tensor})
    for tensor in (torch.zeros(0, 8), torch.zeros(3, 8, 1), torch.full((3, 8), torch.nan), torch.zeros(3, 7))
] + [save({KEYS[0]: FACTORS[KEYS[0]]}), save({KEYS[0]: torch.zeros(3, 8, dtype=torch.int64)})]


@st.composite
def adapters(draw: st.DrawFn) -> tuple[bytes, str, bytes, bool]:
    """(configuration, name of the tensors' file, its bytes, whether a prompt alone is taken)."""
    kinds = st.sampled_from(["PROMPT_TUNING_LORA", "DEPT", "PROMPT_TUNING"])
    config = {**draw(st.one_of(st.just(CONFIG), changed_object(CONFIG))), "peft_type": draw(kinds)}
    data = as_json(config)
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.one_of(changed(data), st.sampled_from(DEEP).map(str.encode)))
    if draw(st.booleans()):
        weights = draw(st.one_of(changed(RELEASED), st.just(RELEASED), st.sampled_from(OTHERS)))
        return data, "adapter_model.bin", weights, draw(st.booleans())
    weights = draw(st.one_of(changed(WEIGHTS), st.just(WEIGHTS), st.sampled_from(ODD)))
    return data, "adapter_model.safetensors", weights, draw(st.booleans())


def try_adapter(made: tuple[bytes, str, bytes, bool], folder: Path) -> None:
    config, name, weights, prompt_only = made
    (folder / "adapter_config.json").write_bytes(config)
    (folder / name).write_bytes(weights)
    assert read_adapter(folder, prompt_only=prompt_only).factors.m >= 0


TARGETS: Mapping[str, tuple[st.SearchStrategy[Any], Callable[[Any, Path], None]]] = {
    "task_files": (task_files(), try_task_file),
    "row_files": (row_files(), try_row_file),
    "artifacts": (artifacts(), try_artifact),
    "backbone_weights": (st.one_of(changed(TENSORS), safetensors_headers(), st.just(TENSORS)), try_backbone_weights),
    "registry_tags": (tags(), try_tag),
    "adapters": (adapters(), try_adapter),
}


def run(target: str, examples: int) -> Counter[str]:
    """Try so many inputs; returns how many were read and how many refused.

    Raises:
        Exception: what a reader raised that is no error of ours, for the smallest such input that was found.
    """
    counts: Counter[str] = Counter()
    checks = list(HealthCheck)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=checks)
    @given(TARGETS[target][0])
    def attempts(made: Any) -> None:
        counts[attempt(target, made)] += 1

    attempts()
    return counts


def attempt(target: str, made: Any) -> str:
    """Read one input; returns 'read' or 'refused', and raises whatever else happens."""
    with tempfile.TemporaryDirectory() as folder, within(SECONDS):
        try:
            TARGETS[target][1](made, Path(folder))
        except BAD_INPUT as error:
            message = str(error)
            assert message
            assert len(message) < 5_000, f"nobody reads a message of {len(message)} characters: {message[:300]}"
            return "refused"
    return "read"


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after so many seconds, in the main thread."""

    def late(*_: object) -> None:
        raise TimeoutError(f"reading took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    left = signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(left)
        signal.signal(signal.SIGALRM, before)
