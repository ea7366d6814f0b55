"""Personas as files: hostile ones are named, the owner's are written whole, nobody's change is lost."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, BadInput, NotFound, Refused
from appliance.persona_files import Clash, PersonaFiles, as_yaml, parse_import
from appliance.personas import Example, Persona, Sampling, parse_persona
from appliance.settings import Settings

pytestmark = pytest.mark.unit

FULL = Persona(
    name="anna", title="Anna: the “front desk” #1", greeting="Hello — yes?",
    instructions="Be kind.\n\n  - Never say: 'no'.\n\tTabs too. \nEnd ", language="de", voice="en_US-joe-medium",
    examples=[Example(user="null", assistant="~"), Example(user="- a: b", assistant="yes\n")],
    sampling=Sampling(temperature=0.5, seed=7), endpointing="quick", barge_in="resume",
    keep_transcript=False,
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> PersonaFiles:
    return PersonaFiles(Settings(data_dir=tmp_path))


def own(tmp_path: Path, name: str = "anna") -> Path:
    return tmp_path / "personas" / f"{name}.yaml"


def test_what_is_written_is_what_is_read() -> None:
    assert parse_persona(as_yaml(FULL)) == FULL
    for text in ("---", "\u2028", "a\n\n\n", " lead\n", "𝄞 \ud7ff", "#x", "'\"", "\t\n"):
        odd = FULL.model_copy(update={"instructions": text})
        assert parse_persona(as_yaml(odd)).instructions == text


def test_a_persona_lives_through_all_of_it(files: PersonaFiles, tmp_path: Path) -> None:
    made = files.create(FULL)
    assert (made.own, made.covers, made.problem, made.persona) == (True, False, "", FULL)
    assert stat.S_IMODE(own(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(own(tmp_path).parent.stat().st_mode) == 0o700
    changed = files.change("anna", FULL.model_copy(update={"title": "B"}), made.version)
    assert changed.version != made.version
    renamed = files.change("anna", FULL.model_copy(update={"name": "bea"}), changed.version)
    assert [one.name for one in files.list() if one.own] == ["bea"]
    files.delete("bea", renamed.version)
    assert [one.name for one in files.list()] == ["default"]
    assert not [path for path in own(tmp_path).parent.iterdir() if path.name != ".lock"]


def test_a_built_in_one_stays_as_it_is(files: PersonaFiles, tmp_path: Path) -> None:
    builtin = files.get("default")
    assert builtin.persona is not None
    with pytest.raises(Refused, match="came with Earshot"):
        files.change("default", builtin.persona, builtin.version)
    with pytest.raises(Refused, match="came with Earshot"):
        files.delete("default", builtin.version)
    with pytest.raises(Clash):
        files.create(builtin.persona)
    mine = files.replace(builtin.persona.model_copy(update={"greeting": "Mine."}))
    assert (mine.own, mine.covers) == (True, True)
    files.delete("default", mine.version)
    assert files.get("default").version == builtin.version


def test_a_change_made_meanwhile_is_not_written_over(files: PersonaFiles) -> None:
    made = files.create(FULL)
    files.change("anna", FULL.model_copy(update={"title": "theirs"}), made.version)
    with pytest.raises(Clash, match="changed meanwhile"):
        files.change("anna", FULL.model_copy(update={"title": "mine"}), made.version)
    with pytest.raises(Clash, match="changed meanwhile"):
        files.delete("anna", made.version)
    assert files.get("anna").title == "theirs"


def test_of_many_at_one_moment_one_wins(files: PersonaFiles) -> None:
    made = files.create(FULL)

    def change(number: int) -> bool:
        try:
            files.change("anna", FULL.model_copy(update={"title": str(number)}), made.version)
        except Clash:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(change, range(24))) == 1
    assert files.get("anna").problem == ""


def test_a_taken_name_is_not_taken_again(files: PersonaFiles) -> None:
    made = files.create(FULL)
    files.create(FULL.model_copy(update={"name": "bea"}))
    with pytest.raises(Clash, match="already"):
        files.create(FULL)
    with pytest.raises(Clash, match="already"):
        files.change("anna", FULL.model_copy(update={"name": "bea"}), made.version)


@pytest.mark.parametrize(
    "name",
    [
        "../default",
        "..",
        "/etc/passwd",
        "a/b",
        "",
        ".lock",
        "A",
        "a" * 65,
        "default\x00",
        "ä",
        "a\n",
    ],
)
def test_a_name_never_leads_elsewhere(files: PersonaFiles, name: str) -> None:
    for ask in (files.get, files.text):
        with pytest.raises(NotFound):
            ask(name)
    with pytest.raises(NotFound):
        files.delete(name, "x")


def test_broken_files_are_listed_with_the_reason(files: PersonaFiles, tmp_path: Path) -> None:
    files.create(FULL)
    folder = own(tmp_path).parent
    (folder / "torn.yaml").write_text("name: torn\ninstructions: [")
    (folder / "other.yaml").write_text("name: someone\ninstructions: x\n")
    (folder / "My Own.yaml").write_text("name: my-own\ninstructions: x\n")
    (folder / "huge.yaml").write_text("#" * 300_000)
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (folder / "link.yaml").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.yaml")
    told = {one.name: one.problem for one in files.list()}
    assert set(told) == {"default", "anna", "torn", "other", "My Own", "huge", "bytes"}
    assert told["default"] == told["anna"] == ""
    assert "cannot be read" in told["torn"]
    assert "someone" in told["other"]
    assert "small letters" in told["My Own"]
    assert "256 KiB" in told["huge"]
    assert "UTF-8" in told["bytes"]


LAUGHS = "a: &a [x,x]\n" + "\n".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "name: &n x\ninstructions: *n\n",
        "[" * 5000,
        "{a: " * 2000,
        "!!python/object/apply:os.system ['true']",
        "name: x\ninstructions: 2021-99-99",
        "name: x\ninstructions: y\nsampling: {seed: " + "9" * 5000 + "}",
        "name: x\ninstructions: y\nsampling: {seed: -1}",
        "name: x\ninstructions: y\nsampling: {temperature: .nan}",
        'name: x\ninstructions: "a\\0b"',
        'name: x\ninstructions: "\\ud800"',
        "name: x\ninstructions: y\nvoice: ../../etc/passwd",
        "null",
        "",
        "- a",
        "#" * 300_000,
        "\ud800",
    ],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_import(text)


def test_a_full_disk_leaves_the_old_file(
    files: PersonaFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = files.create(FULL)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ApplianceError, match="could not be written"):
        files.change("anna", FULL.model_copy(update={"title": "new"}), made.version)
    monkeypatch.undo()
    assert files.get("anna").version == made.version
    assert [path.name for path in own(tmp_path).parent.iterdir() if path.suffix != ".yaml"] == [
        ".lock"
    ]
