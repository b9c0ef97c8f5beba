from pathlib import Path

import pytest

from mlops import artefacts
from mlops.artefacts import BrokenArtefact

FILES = {"booster.ubj": b"\x00\x01", "model.json": b"{}"}


@pytest.fixture(autouse=True)
def store(settings, tmp_path: Path) -> Path:
    settings.ARTEFACT_DIR = tmp_path / "artefacts"
    return settings.ARTEFACT_DIR


def test_what_was_saved_is_loaded():
    assert artefacts.load("acme/one", artefacts.save("acme/one", FILES)) == FILES


def test_a_changed_file_is_refused_by_name(store):
    digest = artefacts.save("acme/one", FILES)
    (store / "acme/one/booster.ubj").write_bytes(b"\x00\x02")

    with pytest.raises(BrokenArtefact, match=r"booster\.ubj in acme/one was changed"):
        artefacts.load("acme/one", digest)


def test_a_changed_manifest_is_refused(store):
    artefacts.save("acme/one", FILES)

    with pytest.raises(BrokenArtefact, match="not the one that was stored"):
        artefacts.load("acme/one", "0" * 64)


def test_a_missing_file_is_refused_by_name(store):
    digest = artefacts.save("acme/one", FILES)
    (store / "acme/one/model.json").unlink()

    with pytest.raises(BrokenArtefact, match=r"model\.json cannot be read"):
        artefacts.load("acme/one", digest)


def test_the_same_files_may_be_saved_twice():
    assert artefacts.save("acme/one", FILES) == artefacts.save("acme/one", FILES)


def test_other_files_never_replace_a_stored_version():
    digest = artefacts.save("acme/one", FILES)

    with pytest.raises(BrokenArtefact):
        artefacts.save("acme/one", {"model.json": b"{1}"})

    assert artefacts.load("acme/one", digest) == FILES


def test_nothing_is_left_beside_a_stored_version(store):
    artefacts.save("acme/one", FILES)
    artefacts.save("acme/one", FILES)

    assert [path.name for path in (store / "acme").iterdir()] == ["one"]


@pytest.mark.parametrize("folder", ["../outside", "/etc", ""])
def test_a_place_outside_the_store_is_refused(folder):
    with pytest.raises(ValueError, match="not a place inside"):
        artefacts.save(folder, FILES)
