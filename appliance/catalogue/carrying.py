"""Models on their way to a machine without internet: a tar out of one box, into another."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.catalogue.digests import sha256_of, verify_model
from appliance.catalogue.entries import FileName, ModelId, Sha256
from appliance.catalogue.fit import Plan, need_of, place_of
from appliance.catalogue.installed import Catalogue, InstalledModel, source_text
from appliance.catalogue.licences import licence_of
from appliance.catalogue.lock import LockedFile, LockedModel, add_to_lock, read_lock
from appliance.catalogue.reading import shape_of_installed
from appliance.catalogue.staging import Staging, check_space
from appliance.errors import ApplianceError, BadInput, Refused
from appliance.files import exclusive
from appliance.settings import Settings

LIST_NAME = "models.json"
_BLOCK = 1 << 20
_MOST_LIST = 4 << 20


class CarriedFile(BaseModel):
    """One file of a carried model."""

    model_config = ConfigDict(extra="forbid")
    name: FileName
    sha256: Sha256
    size: int = Field(ge=0, description="Bytes.")


class CarriedModel(BaseModel):
    """What the other machine has to know about a model."""

    model_config = ConfigDict(extra="forbid")
    id: ModelId
    task: str
    title: str
    licence: str
    languages: list[str]
    source: str
    size: int
    """Bytes on the disk."""
    memory: int
    """Bytes of memory on a machine without a GPU, about."""
    vram: int
    """Bytes of graphics memory on one with a GPU, about; 0: it does not use it."""
    in_image: bool
    """Whether it is part of the image instead of lying beside it."""
    revision: str = ""
    files: list[CarriedFile]


class CarriedList(BaseModel):
    """The tar's first member."""

    model_config = ConfigDict(extra="forbid")
    models: list[CarriedModel]


def describe(settings: Settings, ids: list[str]) -> CarriedList:
    """The embedded models and these ones, each with its real digests.

    Raises:
        NotFound: one is not installed.
        ApplianceError: one is damaged, in one sentence.
    """
    catalogue = Catalogue(settings)
    embedded = [entry.id for entry in catalogue.entries.values() if entry.embedded]
    chosen = dict.fromkeys([*embedded, *ids])
    return CarriedList(models=[_describe(settings, catalogue.find(one)) for one in chosen])


def write_tar(settings: Settings, ids: list[str], out: IO[bytes]) -> None:
    """Write the list, and the files of the models that are in no image, as a tar.

    Raises:
        NotFound: a model is not installed.
        ApplianceError: one is damaged.
    """
    carried = describe(settings, ids)
    catalogue = Catalogue(settings)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        text = (carried.model_dump_json(indent=2) + "\n").encode()
        archive.addfile(_member(LIST_NAME, len(text)), io.BytesIO(text))
        for model in carried.models:
            if model.in_image:
                continue
            folder = catalogue.find(model.id).folder
            for file in model.files:
                with (folder / file.name).open("rb") as content:
                    archive.addfile(_member(f"{model.id}/{file.name}", file.size), content)


def read_tar(settings: Settings, stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Install the models of a tar; yields each one's id and ``installed`` or ``already``.

    A model that is here with other bytes is never replaced: the version of Earshot that runs now may
    be needed again.

    Raises:
        BadInput: the tar is damaged or not one of ours; models before the damage are installed.
        Refused: a model is here with other bytes; nothing was installed.
        ApplianceError: the disk is too full, or a file is not what the list says.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            yield from _read(settings, archive)
    except tarfile.TarError as error:
        raise BadInput(
            "carried_unreadable", "What should hold the models is damaged or cut short.",
            "Copy the bundle again.",
        ) from error  # fmt: skip


def _read(settings: Settings, archive: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    root = settings.models_path
    wanted = {model.id: model for model in _read_list(archive).models if not model.in_image}
    root.mkdir(parents=True, exist_ok=True)
    here = {model.id for model in wanted.values() if _is_here(Catalogue(settings), root, model)}
    check_space(root, sum(model.size for key, model in wanted.items() if key not in here))
    for model_id in sorted(here):
        yield model_id, "already"
    missing = {key: {file.name for file in model.files} for key, model in wanted.items()}
    # Iterating would begin again with the list.
    while (member := archive.next()) is not None:
        model_id, _, name = member.name.partition("/")
        file = _listed(wanted.get(model_id), name)
        content = archive.extractfile(member)
        if file is None or content is None or not member.isreg() or member.size != file.size:
            raise BadInput(
                "carried_unknown_file", f"{member.name} is not in the list of the carried models.",
                "Copy the bundle again.",
            )  # fmt: skip
        if model_id in here:
            continue
        _keep(Staging(root, model_id), file, content)
        missing[model_id].discard(name)
        if not missing[model_id]:
            _commit(settings, root, wanted[model_id])
            yield model_id, "installed"
    lacking = sorted(key for key, names in missing.items() if names and key not in here)
    if lacking:
        raise BadInput(
            "carried_incomplete", f"Files of {', '.join(lacking)} are missing.",
            "Copy the bundle again.",
        )  # fmt: skip


def _listed(model: CarriedModel | None, name: str) -> CarriedFile | None:
    return next((file for file in model.files if file.name == name), None) if model else None


def _read_list(archive: tarfile.TarFile) -> CarriedList:
    first = archive.next()
    content = archive.extractfile(first) if first and first.name == LIST_NAME else None
    if first is None or content is None or first.size > _MOST_LIST:
        raise BadInput(
            "carried_unreadable", "The carried models come without their list.",
            "Copy the bundle again.",
        )  # fmt: skip
    try:
        return CarriedList.model_validate_json(content.read())
    except ValidationError as error:
        raise BadInput(
            "carried_unreadable", "The list of the carried models cannot be read.",
            "This version may be too old for that bundle.",
        ) from error  # fmt: skip


def _is_here(catalogue: Catalogue, root: Path, model: CarriedModel) -> bool:
    """Whether these very files lie in place.

    Raises:
        Refused: others lie there, or the catalogue knows other bytes under this id.
    """
    entry = catalogue.entries.get(model.id)
    pinned = {file.name: file.sha256 for file in entry.files if file.sha256} if entry else {}
    if any(pinned.get(file.name, file.sha256) != file.sha256 for file in model.files):
        raise Refused(
            "carried_other_bytes", f"The carried model {model.id!r} is not the one that the catalogue knows.",
            "The bundle was made by another version of Earshot.",
        )  # fmt: skip
    folder = root / model.id
    if not folder.exists():
        return False
    for file in model.files:
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size or sha256_of(path) != file.sha256:
            raise Refused(
                "carried_other_bytes", f"The model {model.id!r} is here already, with other bytes.",
                f"Delete it on the page Models, or move {folder} away; then try again.",
            )  # fmt: skip
    return True


def _keep(staging: Staging, file: CarriedFile, content: IO[bytes]) -> None:
    """Write one file beside its place, and check it.

    Raises:
        ApplianceError: its SHA-256 is another one.
    """
    staging.prepare()
    path = staging.ready / file.name
    digest = hashlib.sha256()
    with path.open("wb") as out:
        while block := content.read(_BLOCK):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != file.sha256:
        path.unlink()
        raise ApplianceError(
            "wrong_digest", f"{file.name} of {staging.model_id} does not have the SHA-256 of the list.",
            "Copy the bundle again.",
        )  # fmt: skip


def _commit(settings: Settings, root: Path, model: CarriedModel) -> None:
    staging = Staging(root, model.id)
    with exclusive(staging.lock_file):
        staging.commit([file.name for file in model.files])
    entry = Catalogue(settings).entries.get(model.id)
    if entry and any(file.sha256 is None for file in entry.files):
        files = {file.name: LockedFile(sha256=file.sha256, size=file.size) for file in model.files}
        add_to_lock(root, model.id, LockedModel(revision=model.revision, files=files))


def _describe(settings: Settings, model: InstalledModel) -> CarriedModel:
    check = verify_model(model)
    damaged = [file.name for file in check.files if file.state == "damaged"]
    if damaged:
        raise ApplianceError(
            "model_damaged", f"The model {model.id!r} is damaged: {', '.join(damaged)}.",
            f"Fetch it again with `scripts/appliance models pull {model.id}`.",
        )  # fmt: skip
    shape = shape_of_installed(model)
    context = settings.llm.context_tokens
    in_vram = place_of(model.task, gpu=True, stt_device="auto", gpu_layers=-1) == "vram"
    sizes = {path.name: path.stat().st_size for path in model.files.values()}
    locked = read_lock(model.folder.parent).models.get(model.id)
    return CarriedModel(
        id=model.id, task=model.task, title=model.entry.title,
        licence=licence_of(model.entry, shape), languages=model.entry.languages,
        source=source_text(model.entry), size=sum(sizes.values()),
        memory=need_of(shape, Plan("ram", context, int8=True)).total,
        vram=need_of(shape, Plan("vram", context)).total if in_vram else 0,
        in_image=model.entry.embedded, revision=locked.revision if locked else "",
        files=[
            CarriedFile(name=file.name, sha256=file.sha256, size=sizes[file.name])
            for file in check.files
        ],
    )  # fmt: skip


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member
