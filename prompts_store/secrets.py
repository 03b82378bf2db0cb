"""Secrets in texts that people read or that are kept: passwords in addresses, and what the environment holds."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote

HIDDEN = "***"
SHORTEST = 6
"""A shorter value is not looked for: it would also stand in texts that have nothing to do with it."""

_SECRET_NAME = re.compile(r"(?i)(TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE_KEY)")
_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#'\"<>]+)@")
_QUERY = re.compile(r"(?i)([?&][^\s=&]*(?:token|password|passwd|secret|signature|credential|key)[^\s=&]*=)[^\s&'\"]+")


def without_secrets(text: str) -> str:
    """`text` without what must not be seen.

    A user name and password before the host of an address are left out, however they are spelt. The values of query
    parameters such as ``?password=``, and of environment variables whose names hold TOKEN, PASSWORD, SECRET, CREDENTIAL
    or a kind of KEY, become ``***`` wherever they stand, and so does a password that stands in the address that another
    variable holds, such as MLFLOW_TRACKING_URI.
    """
    if len(text) < SHORTEST:  # no room for a secret, nor for an address with one
        return text
    text = _QUERY.sub(rf"\1{HIDDEN}", _USER_INFO.sub(r"\1", text))
    for value in _longest_first(tuple(os.environ.items())):
        text = text.replace(value, HIDDEN)
    return text


@lru_cache(maxsize=1)
def _longest_first(environment: tuple[tuple[str, str], ...]) -> list[str]:
    return sorted(secret_values(dict(environment)), key=len, reverse=True)


def secret_values(environment: Mapping[str, str]) -> set[str]:
    """The values in an environment that are secret, of at least `SHORTEST` characters."""
    return {value for value in _secret_values(environment) if len(value) >= SHORTEST}


def _secret_values(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        # a path names a place, not a secret: AWS_SHARED_CREDENTIALS_FILE, SSH_KEY_PATH
        if _SECRET_NAME.search(name) and not value.startswith(("/", "~", ".")):
            yield value
        for found in _USER_INFO.finditer(value):
            password = found[2].partition(":")[2]
            yield from (password, unquote(password))
