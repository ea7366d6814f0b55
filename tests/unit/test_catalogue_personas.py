"""A persona is served with what this box has, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.catalogue.personas import check_persona
from appliance.catalogue.selection import Selection, write_selection
from appliance.errors import NotFound, Refused
from appliance.personas import Persona
from tests import catalogues as make

pytestmark = pytest.mark.unit


def _ann(**wishes: Any) -> Persona:
    return Persona(name="ann", instructions="Answer.", **wishes)


def test_the_loaded_model_and_an_installed_voice_are_served(tmp_path: Path) -> None:
    settings = make.settings(tmp_path)
    make.put(settings.models_path, {"ann.onnx": b"voice", "ann.onnx.json": b"{}"})
    check_persona(settings, _ann())
    check_persona(settings, _ann(model=settings.llm.model, voice="ann"))


def test_another_model_than_the_loaded_one_is_refused(tmp_path: Path) -> None:
    settings = make.settings(tmp_path)
    settings.models_path.mkdir(parents=True)
    write_selection(settings, Selection(current={"llm": "switched-to"}))
    check_persona(settings, _ann(model="switched-to"))
    with pytest.raises(Refused, match=r"'ann'.*'other'.*'switched-to'") as raised:
        check_persona(settings, _ann(model="other"))
    assert raised.value.hint


def test_a_voice_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    settings = make.settings(tmp_path)
    make.put(settings.models_path, {"mind.gguf": b"gguf"})
    with pytest.raises(NotFound) as raised:
        check_persona(settings, _ann(voice="en_GB-jenny_dioco-medium"))
    assert "models pull en_GB-jenny_dioco-medium" in raised.value.hint
    with pytest.raises(NotFound, match="no such voice"):
        check_persona(settings, _ann(voice="mind"))


def test_what_another_server_has_is_its_own_matter(tmp_path: Path) -> None:
    url = {"url": "http://127.0.0.1:9"}
    settings = make.settings(tmp_path, llm=url, tts=url)
    check_persona(settings, _ann(model="anything", voice="anyone"))
