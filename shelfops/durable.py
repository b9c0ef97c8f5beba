"""Files that are whole or not there, and stay after a power cut: written aside, forced to disk, put in place."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_whole(path: Path, text: str) -> None:
    """A reader sees the old file or the whole new one."""
    with _aside(path, text) as aside:
        aside.replace(path)


def write_once(path: Path, text: str) -> None:
    """Of several processes that write at once the first one's text stays, and all read that."""
    with _aside(path, text) as aside, suppress(FileExistsError):
        path.hardlink_to(aside)


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to disk: syncing a file does not do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _aside(path: Path, text: str) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield aside
        sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)
