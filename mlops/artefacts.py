"""Files of a version: written aside, renamed, hashed; checked again whenever they are read."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from shelfops.durable import sync_folder
from shelfops.refusals import Refusal

MANIFEST = "manifest.json"


class BrokenArtefact(Refusal):
    """A version's files are missing or are not what was stored."""


def save(folder: str, files: Mapping[str, bytes]) -> str:
    """Stores the files as `folder` (relative to the artefact store) and returns the SHA-256 of their manifest.

    Nobody sees half of them: they are written beside their place, synced, and renamed. A folder that is there
    already is left alone when it holds the same files and refused otherwise, so no stored version is ever changed.
    """
    manifest = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}, indent=1)
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    target = _path(folder)
    if not target.exists():
        _put_in_place(target, {**files, MANIFEST: manifest.encode()})
    load(folder, digest)  # raises where another content is there
    sync_folder(target.parent)
    return digest


def _put_in_place(target: Path, files: Mapping[str, bytes]) -> None:
    """Writes the folder aside and renames it, unless another process has done so meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    try:
        for name, data in files.items():
            with (aside / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(aside)
        aside.rename(target)
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load(folder: str, digest: str) -> dict[str, bytes]:
    """The files of `folder`; raises BrokenArtefact where one is missing or its hash is not the stored one."""
    place = _path(folder)
    try:
        manifest = (place / MANIFEST).read_bytes()
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise BrokenArtefact(f"The manifest in {folder} is not the one that was stored with the version.")
        files = {name: (place / name).read_bytes() for name in json.loads(manifest)}
    except OSError as error:
        raise BrokenArtefact(f"{folder} is incomplete: {error.filename} cannot be read ({error.strerror}).") from error
    for name, expected in json.loads(manifest).items():
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise BrokenArtefact(f"{name} in {folder} was changed after it was stored.")
    return files


def written(folder: str) -> dict[str, float]:
    """What lies in `folder`, half-written folders too, with the second since 1970 when it was last written into."""
    place, found = _path(folder), {}
    for path in place.iterdir() if place.exists() else ():
        with suppress(FileNotFoundError):  # whoever writes it has just put it in its place
            found[f"{folder}/{path.name}"] = path.stat().st_mtime
    return found


def remove(folder: str) -> None:
    """Deletes a folder that nobody refers to."""
    shutil.rmtree(_path(folder), ignore_errors=True)


def _path(folder: str) -> Path:
    root = Path(settings.ARTEFACT_DIR).resolve()
    path = (root / folder).resolve()
    if not path.is_relative_to(root) or path == root:
        raise ValueError(f"{folder!r} is not a place inside the artefact store.")
    return path
