"""Personas: the shipped one is sound, a mistake in one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from appliance.errors import BadInput, NotFound
from appliance.personas import find_persona, load_persona
from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

SHIPPED = PROJECT_DIR / "config" / "personas"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_persona_is_sound(path: Path) -> None:
    persona = load_persona(path)
    assert persona.name == path.stem
    assert persona.delays.min_s < persona.delays.max_s


def test_the_owners_persona_is_over_the_shipped_one(tmp_path: Path) -> None:
    own = yaml.safe_load((SHIPPED / "default.yaml").read_text()) | {"greeting": "Hi."}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump(own))
    assert find_persona("default", [tmp_path, SHIPPED]).greeting == "Hi."
    assert find_persona("default", [SHIPPED]).greeting != "Hi."


@pytest.mark.parametrize("name", ["nobody", "../default", "/etc/passwd", ""])
def test_an_unknown_name_is_said(name: str) -> None:
    with pytest.raises(NotFound):
        find_persona(name, [SHIPPED])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\ninstructions: y\nendpointing: slow\n", "endpointing"),
        ("name: x\ninstructions: y\nbarge_in: finish_sentence\n", "barge_in"),
        ("name: x\ninstructions: y\ngreetting: hi\n", "greetting"),
        ("name: x\n", "instructions"),
        ("name: Not A Name\ninstructions: y\n", "name"),
        ("sampling: {temperature: 9}\nname: x\ninstructions: y\n", "sampling.temperature"),
        (": : :", "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=told):
        load_persona(path)


def test_a_persona_is_called_what_its_file_is_called(tmp_path: Path) -> None:
    own = yaml.safe_load((SHIPPED / "default.yaml").read_text()) | {"name": "anna"}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(BadInput, match="is called 'anna'"):
        find_persona("default", [tmp_path, SHIPPED])
