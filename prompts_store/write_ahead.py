"""SQLite with a write-ahead log: commits that do not wait for the disk, and readers that hold no writer up.

MLflow commits several times for each configuration of a search, and with SQLite's usual journal every commit waits for
the disk some three times. With a log, and ``synchronous=NORMAL``, it appends to one file. What was committed is there
when a process is killed; a power cut may take back the last commits, but never breaks the database
(https://www.sqlite.org/wal.html).
"""

import contextlib
import os
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

LOCAL = frozenset(
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs jfs ntfs overlay ramfs reiserfs tmpfs ufs xfs zfs".split()  # noqa: SIM905
)
"""File systems of a machine's own disks. The log needs memory that all who open it share: elsewhere it stays off."""

BUSY_MILLISECONDS = 200
"""For how long a connection waits for others so that it can change the journal, which only the first one must."""

_databases: set[str] = set()


def keep_log(path: Path) -> None:
    """Let every connection that this process opens to a database from now on keep the log, if its disk is local."""
    if on_local_disk(path):
        _databases.add(os.path.realpath(path))
        _listen()


def on_local_disk(path: Path) -> bool:
    """Whether a file lies, or would lie, on one of this machine's own disks; False where that cannot be known."""
    import psutil

    place = Path(os.path.realpath(path))
    try:
        types = {partition.mountpoint: partition.fstype for partition in psutil.disk_partitions(all=True)}
    except (OSError, RuntimeError):  # a container without /proc/filesystems
        return False
    mounted = next((folder for folder in map(str, place.parents) if folder in types), None)
    return mounted is not None and types[mounted].lower() in LOCAL


@cache
def _listen() -> None:
    from sqlalchemy import Engine, event

    event.listen(Engine, "connect", _connected)


def _connected(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    _, _, file = connection.execute("PRAGMA database_list").fetchone()
    if os.path.realpath(file) not in _databases:
        return
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    # where others use the database just now, a later connection changes the journal
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA busy_timeout={patience}")
