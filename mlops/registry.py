"""The door into the registry: versions get their number, their files and their first event here."""

import datetime as dt
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, count
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils.text import slugify

from mlops import artefacts
from mlops.models import GLOBAL, ModelRetrainingLog, ModelVersion, VersionEvent
from mlops.models.version import ModelVersionQuerySet
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User

CODE = ("forecasting", "mlops")
MOST_OF_A_SLUG = 60
LIBRARIES = ("xgboost-cpu", "xgboost", "mlforecast", "pandas", "numpy")


@dataclass(frozen=True)
class Trained:
    """What a run hands to the registry: where a version comes from, how it did, and its files."""

    recipe: Mapping[str, Any]
    as_of: dt.date
    evaluation: tuple[dt.date, dt.date]
    training: tuple[dt.date, dt.date]
    rows: int
    series: int
    data_hash: str
    files: Mapping[str, bytes]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    importances: Sequence[Mapping[str, Any]] = ()
    products: Sequence[str] = ()


def register(
    customer: Customer,
    trained: Trained,
    *,
    status: ModelVersion.Status,
    reason: str,
    by: User | None = None,
    run: ModelRetrainingLog | None = None,
    parent: ModelVersion | None = None,
    model_name: str = MODEL_NAME_DEFAULT,
) -> ModelVersion:
    """Stores the files, then the version under the run's number, else the next, with its first event.

    The files are in place before the row is committed: a crash in between leaves a folder that nobody refers to,
    never a version without its files. Inside a transaction, store them before it: no lock shall wait for a disk.
    """
    folder, digest = store_files(customer, trained.files)
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)  # numbers are given out one at a time
        segment = trained.recipe.get("segment", GLOBAL)
        number, name = _next_name(ModelVersion.objects.of(customer, model_name), segment, run)
        registered = ModelVersion.objects.create(
            customer=customer,
            model_name=model_name,
            number=number,
            version=name,
            segment=segment,
            status=status,
            tier=trained.recipe["tier"],
            recipe=dict(trained.recipe),
            as_of=trained.as_of,
            evaluation_start=trained.evaluation[0],
            evaluation_end=trained.evaluation[1],
            train_start=trained.training[0],
            train_end=trained.training[1],
            rows=trained.rows,
            series=trained.series,
            data_hash=trained.data_hash,
            code_version=code_version(),
            libraries=library_versions(),
            mae=trained.metrics.get("mae"),
            baseline_mae=trained.metrics.get("seasonal_naive_mae"),
            coverage=trained.metrics.get("coverage"),
            metrics=dict(trained.metrics),
            run=run,
            parent=parent,
            importances=list(trained.importances),
            products=list(trained.products),
            artefact=folder,
            artefact_sha256=digest,
        )
        VersionEvent.objects.create(version=registered, to_status=status, by=by, reason=reason, as_of=trained.as_of)
    return registered


def store_files(customer: Customer, files: Mapping[str, bytes]) -> tuple[str, str]:
    """The files' folder, named after what they hold, and their hash; what is there already is only read."""
    folder = f"{customer.id}/{_fingerprint(files)}"
    return folder, artefacts.save(folder, files)


def discard_leftovers(customer: Customer) -> list[str]:
    """Removes what retrains that failed or died have left in the store, and answers which folders; under a lease only.

    That is what no version refers to and what was written while such a retrain was at work: never what a living one
    writes, and never the files of versions that a database restored from a backup does not know of any more.
    """
    failed = ModelRetrainingLog.objects.filter(customer=customer, status=ModelRetrainingLog.Status.FAILED)
    spans = [
        (begun.timestamp(), ended.timestamp())
        for begun, ended in failed.exclude(completed_at=None).values_list("started_at", "completed_at")
        if ended
    ]
    if not spans:
        return []
    found = artefacts.written(str(customer.id))
    kept = set(ModelVersion.objects.filter(customer=customer).values_list("artefact", flat=True))
    left = [
        folder
        for folder, at in sorted(found.items())
        if folder not in kept and any(begun <= at <= ended for begun, ended in spans)
    ]
    for folder in left:
        artefacts.remove(folder)
    return left


def _next_name(taken: ModelVersionQuerySet, segment: str, run: ModelRetrainingLog | None) -> tuple[int, str]:
    """Such as 13 and v13_electronics: the versions of one run share its number; a slug that is taken gets one more."""
    siblings = taken.filter(run=run) if run else taken.none()
    number = siblings.aggregate(number=Max("number"))["number"]
    number = number or (taken.aggregate(number=Max("number"))["number"] or 0) + 1
    plain = f"v{number}{_slug(segment)}"
    names = set(taken.filter(number=number).values_list("version", flat=True))
    return number, next(name for name in chain([plain], (f"{plain}_{n}" for n in count(2))) if name not in names)


def _slug(segment: str) -> str:
    if segment == GLOBAL:
        return ""
    value = segment.partition(":")[2]
    return "_" + (slugify(value).replace("-", "_")[:MOST_OF_A_SLUG] or "segment")


def files_of(registered: ModelVersion) -> dict[str, bytes]:
    """The version's files, checked against their hashes. Raises artefacts.BrokenArtefact."""
    return artefacts.load(registered.artefact, registered.artefact_sha256)


@cache
def code_version() -> str:
    """A fingerprint of the code that trains and judges: the same code, the same twelve letters."""
    digest = hashlib.sha256()
    for app in CODE:
        for path in sorted((settings.BASE_DIR / app).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.parts):
                digest.update(path.relative_to(settings.BASE_DIR).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def library_versions() -> dict[str, str]:
    """What this process computes with."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _fingerprint(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()[:32]
