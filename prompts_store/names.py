"""Names that MLflow, file systems and people can all read, made without collisions.

A registered model is called `<method>-<backbone>-<task>`. MLflow forbids '/' and ':' there, and a hub name has a '/'.
"""

import hashlib
import re

from prompts_store.errors import StoreError

MAX_NAME = 100
"""Longest cleaned name; longer ones are cut and end in '~~' and a hash. MLflow's own limit is 256 for three of them."""

_METHOD = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def clean_name(text: str) -> str:
    """`text` in ASCII letters, digits and ``. _ - ~``; different texts give different names.

    '/' becomes '--' ('google-t5/t5-base' -> 'google-t5--t5-base'). A '-' beside another '-' or a '/', a first '.' or
    '-', and every other character become '~' and two hex digits for each byte of UTF-8. `original_name` undoes it, but
    for names longer than `MAX_NAME`, which end in '~~' and 16 digits of their SHA-256.

    Raises:
        StoreError: `text` is empty or not valid Unicode.
    """
    if not text:
        raise StoreError("A name is empty: give a backbone or a task a name of at least one character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(f"The name {text!r} is not valid Unicode: rename it in plain letters.") from None
    cleaned = "".join(_clean_character(text, i) for i in range(len(text)))
    if len(cleaned) <= MAX_NAME:
        return cleaned
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{cleaned[: MAX_NAME - 18]}~~{digest}"


def _clean_character(text: str, i: int) -> str:
    character = text[i]
    if character == "/":
        return "--"
    beside = text[max(i - 1, 0) : i] + text[i + 1 : i + 2]
    unsafe_dash = character == "-" and (i == 0 or "-" in beside or "/" in beside)
    if character in _PLAIN and not unsafe_dash and not (character == "." and i == 0):
        return character
    return _escape(character)


def _escape(character: str) -> str:
    return "".join(f"~{byte:02x}" for byte in character.encode())


def original_name(name: str) -> str:
    """The text that `clean_name` made `name` from.

    Raises:
        StoreError: `name` was cut, or `clean_name` cannot have made it.
    """
    if "~~" in name:
        raise StoreError(
            f"The name {name!r} was cut to {MAX_NAME} characters: read the original from the version's tags."
        )
    data = re.sub(rb"~([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), name.replace("--", "/").encode())
    text = data.decode(errors="replace")
    if clean_name(text) != name:
        raise StoreError(f"The name {name!r} is not a cleaned name.")
    return text


def model_name(method: str, backbone: str, task: str) -> str:
    """The registered model of a method, backbone and task: ('dept', 'minilm', 'mnli') -> 'dept-minilm-mnli'.

    Methods have no '-', and one in a task becomes '~2d', so that no two triples share a name.

    Raises:
        StoreError: the method is not lower-case letters, digits and '_', or a name is empty.
    """
    if not _METHOD.fullmatch(method):
        raise StoreError(f"The method {method!r} cannot be part of a name: use lower-case letters, digits and '_'.")
    return f"{method}-{clean_name(backbone)}-{clean_name(task).replace('-', _escape('-'))}"
