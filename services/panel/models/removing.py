"""Deleting a pulled or uploaded model; never one that serves or has served well last."""

from __future__ import annotations

import shutil

from appliance.catalogue.entries import Task
from appliance.catalogue.installed import Catalogue, InstalledModel
from appliance.catalogue.lock import drop_from_lock
from appliance.catalogue.selection import Selection, read_selection
from appliance.errors import ApplianceError, Refused
from appliance.personas import load_persona
from appliance.settings import Settings

_ASIDE = ".deleted"


def why_kept(
    settings: Settings, catalogue: Catalogue, selection: Selection, model: InstalledModel
) -> str:
    """Why this model is not deleted; empty if it may be."""
    if not model.folder.is_relative_to(settings.models_path):
        return "It came with Earshot and cannot be deleted."
    switch = selection.switch
    if switch and not switch.finished and model.id in (switch.to, switch.before):
        return "It is part of a change that is under way."
    task: Task = model.task
    if model.id == catalogue.selected(task):
        return "It is the one that serves now."
    if model.id == selection.last_good.get(task):
        return "It is the last one that served well."
    return ""


def delete_model(settings: Settings, model_id: str) -> int:
    """Delete a model's files; the bytes that are free again.

    Raises:
        NotFound: it is not here.
        Refused: it serves, or is needed to go back to.
    """
    catalogue = Catalogue(settings)
    model = catalogue.find(model_id)
    selection = read_selection(settings)
    if why := why_kept(settings, catalogue, selection, model):
        raise Refused("model_in_use", f"{model_id!r} is not deleted. {why}")
    if persona := _persona_with(settings, model_id):
        raise Refused(
            "model_in_use", f"{model_id!r} is not deleted: the persona {persona!r} asks for it.",
            "Change the persona first.",
        )  # fmt: skip
    size = sum(path.stat().st_size for path in model.files.values())
    own_folder = model.folder != settings.models_path and all(
        other.id == model_id or other.folder != model.folder for other in catalogue.all_installed()
    )
    try:
        if own_folder:
            # Renamed first: a deletion that is cut short leaves no half of a model.
            aside = settings.models_path / _ASIDE / model.folder.name
            aside.parent.mkdir(exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            model.folder.rename(aside)
            shutil.rmtree(aside)
        else:
            for path in model.files.values():
                path.unlink()
        if model.entry.source is None:
            # Another file of this name would not be the one that was uploaded.
            drop_from_lock(settings.models_path, model_id)
    except OSError as error:
        raise ApplianceError(
            "model_not_deleted", f"The files of {model_id!r} cannot be deleted.",
            "Check their owner and mode.",
        ) from error  # fmt: skip
    return size


def _persona_with(settings: Settings, model_id: str) -> str:
    for path in (path for folder in settings.persona_dirs for path in folder.glob("*.yaml")):
        try:
            persona = load_persona(path)
        except ApplianceError:
            # A broken persona asks for nothing.
            continue
        if model_id in (persona.model, persona.voice):
            return persona.name
    return ""
