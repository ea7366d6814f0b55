"""Models out of one box and into another: what arrives, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from appliance.catalogue import Catalogue, carrying
from appliance.catalogue.digests import verify_model
from appliance.catalogue.lock import LOCK_NAME, LockedFile, LockedModel, add_to_lock
from appliance.catalogue.shape import shape_of_gguf
from appliance.errors import ApplianceError, BadInput, NotFound, Refused
from appliance.settings import Settings
from tests import catalogues as make
from tests import ggufs

pytestmark = pytest.mark.unit

REVISION = "d" * 40


def a_box(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A box whose catalogue knows one embedded and one fetched language model."""
    hub = {"kind": "hub", "repo": "a/b", "revision": REVISION}
    file = {"name": "model.gguf", "role": "model"}
    catalogue = make.catalogue(
        folder.parent / f"{folder.name}.yaml",
        make.model("small", "llm", source=hub, embedded=True, files=[file]),
        make.model("large", "llm", source=hub, files=[file]),
    )
    monkeypatch.setattr(carrying, "Catalogue", lambda settings: Catalogue(settings, catalogue))
    # In this process: a child for each reading would be most of the time.
    monkeypatch.setattr(
        carrying, "shape_of_installed", lambda model: shape_of_gguf([model.files["model"]])
    )
    settings = make.settings(folder)
    for place in (settings.builtin_models_dir / "small", settings.models_path):
        place.mkdir(parents=True)
    ggufs.make(settings.builtin_models_dir / "small" / "model.gguf")
    return settings


def put_large(settings: Settings, layers: int = 2) -> Path:
    folder = settings.models_path / "large"
    folder.mkdir()
    path = ggufs.make(folder / "model.gguf", layers=layers)
    content = path.read_bytes()
    locked = LockedFile(sha256=make.sha256(content), size=len(content))
    add_to_lock(
        settings.models_path, "large", LockedModel(revision=REVISION, files={path.name: locked})
    )
    return path


def exported(settings: Settings, *ids: str) -> bytes:
    out = io.BytesIO()
    carrying.write_tar(settings, list(ids), out)
    return out.getvalue()


def imported(settings: Settings, content: bytes) -> dict[str, str]:
    return dict(carrying.read_tar(settings, io.BytesIO(content)))


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {one.name: (archive.extractfile(one) or io.BytesIO()).read() for one in archive}


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return a_box(tmp_path / "here", monkeypatch)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return a_box(tmp_path / "there", monkeypatch)


def test_a_model_arrives_with_its_digests(here: Settings, there: Settings, tmp_path: Path) -> None:
    source = put_large(here)
    assert imported(there, exported(here, "large")) == {"large": "installed"}
    found = Catalogue(there, tmp_path / "there.yaml").find("large")
    assert found.files["model"].read_bytes() == source.read_bytes()
    assert [file.state for file in verify_model(found).files] == ["ok"]
    lock = json.loads((there.models_path / LOCK_NAME).read_text())
    assert lock["models"]["large"]["revision"] == REVISION
    # The embedded one is the image's own.
    assert not (there.models_path / "small").exists()


def test_the_list_says_licence_size_digest_and_memory(here: Settings) -> None:
    source = put_large(here)
    listed = json.loads(members(exported(here, "large"))["models.json"])["models"]
    small, large = listed
    assert (small["in_image"], large["in_image"]) == (True, False)
    assert large["licence"] == "MIT"
    assert large["size"] == source.stat().st_size
    assert large["files"][0]["sha256"] == make.sha256(source.read_bytes())
    assert large["memory"] > large["size"]
    # On a GPU the library takes memory of its own beside the model.
    assert large["vram"] > large["memory"]


def test_what_is_here_already_is_left_as_it_is(here: Settings, there: Settings) -> None:
    put_large(here)
    put_large(there)
    before = (there.models_path / "large" / "model.gguf").stat().st_mtime_ns
    assert imported(there, exported(here, "large")) == {"large": "already"}
    assert (there.models_path / "large" / "model.gguf").stat().st_mtime_ns == before


def test_other_bytes_under_the_same_name_are_never_replaced(
    here: Settings, there: Settings
) -> None:
    put_large(here)
    theirs = put_large(there, layers=3).read_bytes()
    with pytest.raises(Refused, match="with other bytes"):
        imported(there, exported(here, "large"))
    assert (there.models_path / "large" / "model.gguf").read_bytes() == theirs


def test_a_damaged_model_does_not_leave_the_box(here: Settings) -> None:
    path = put_large(here)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ApplianceError, match="'large' is damaged"):
        exported(here, "large")


def test_a_model_that_is_not_here_is_named(here: Settings) -> None:
    with pytest.raises(NotFound, match="'large' is not installed"):
        exported(here, "large")


def _flip(files: dict[str, bytes]) -> None:
    files["large/model.gguf"] = files["large/model.gguf"][:-1] + b"\xff"


def _stray(files: dict[str, bytes]) -> None:
    files["large/../../evil"] = b"x"


def _unlisted(files: dict[str, bytes]) -> None:
    files["other/model.gguf"] = b"x"


def _missing(files: dict[str, bytes]) -> None:
    del files["large/model.gguf"]


def _no_list(files: dict[str, bytes]) -> None:
    del files["models.json"]


def _strange_list(files: dict[str, bytes]) -> None:
    files["models.json"] = b'{"models": [{"id": "../evil"}]}'


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_flip, "wrong_digest"), (_stray, "carried_unknown_file"),
        (_unlisted, "carried_unknown_file"), (_missing, "carried_incomplete"),
        (_no_list, "carried_unreadable"), (_strange_list, "carried_unreadable"),
    ],
)  # fmt: skip
def test_a_tar_that_is_not_what_it_says_installs_nothing_wrong(
    here: Settings, there: Settings, damage: Any, code: str
) -> None:
    put_large(here)
    files = members(exported(here, "large"))
    damage(files)
    with pytest.raises(ApplianceError) as caught:
        imported(there, packed(files))
    assert caught.value.code == code
    assert code == "carried_unknown_file" or not (there.models_path / "large").exists()
    assert not list(there.models_path.parent.rglob("evil"))


def test_a_tar_cut_short_is_told_from_a_whole_one(here: Settings, there: Settings) -> None:
    put_large(here)
    content = exported(here, "large")
    with pytest.raises(BadInput):
        imported(there, content[: len(content) // 2])
    assert not (there.models_path / "large").exists()
