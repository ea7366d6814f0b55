"""A model's template, and texts that its tokenizer must not be given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from appliance.errors import BadInput
from appliance.settings import PROJECT_DIR
from services.llm.model import Model
from services.llm.vocabulary import Message
from tests import ggufs

pytestmark = pytest.mark.unit

MANY = 10_000
SYSTEM = Message("system", "Be brief.")
HELLO = Message("user", "Hello.")
REPLY = Message("assistant", "Hi.")

SAID = "{% for m in messages %}[{{ m.role }} {{ m.content }}]{% endfor %}"
# As Gemma 2's.
REFUSING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + SAID
)
SILENT = SAID.replace("messages %}", "messages if m.role != 'system' %}")


@pytest.fixture
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    keys = {"template": request.param}
    model = Model("made", ggufs.make(tmp_path / "made.gguf", only_keys=keys), gpu_layers=0)
    yield model
    model.close()


def prompt(model: Model, messages: Sequence[Message]) -> str:
    tokens = model.render(messages, MANY)
    assert tokens is not None
    return b"".join(map(model.piece, tokens)).decode().replace("\u2581", " ").strip()


@pytest.mark.parametrize("opened", [REFUSING, SILENT], indirect=True)
def test_a_template_without_a_system_has_the_user_say_it(opened: Model) -> None:
    assert prompt(opened, [SYSTEM, HELLO]) == "[user Be brief.\n\nHello.]"
    talk = [SYSTEM, HELLO, REPLY, HELLO]
    assert prompt(opened, talk) == "[user Be brief.\n\nHello.][assistant Hi.][user Hello.]"
    # What was read ahead is how the talk begins.
    assert prompt(opened, [SYSTEM]) == "[user Be brief.]"
    assert prompt(opened, [HELLO]) == "[user Hello.]"


@pytest.mark.parametrize("opened", [SAID], indirect=True)
def test_a_template_with_a_system_is_given_it(opened: Model) -> None:
    assert prompt(opened, [SYSTEM, HELLO]) == "[system Be brief.][user Hello.]"


@pytest.mark.parametrize("opened", [REFUSING], indirect=True)
def test_what_a_template_refuses_all_the_same_is_told(opened: Model) -> None:
    with pytest.raises(BadInput) as refused:
        opened.render([REPLY, HELLO], MANY)
    assert refused.value.code == "messages_refused"


@pytest.mark.parametrize("opened", [SAID], indirect=True)
def test_only_what_cannot_fit_is_not_tokenised(opened: Model) -> None:
    # Here a token spells one byte, and the longest name is that of a byte: <0x41>.
    fits = opened.render([Message("user", "a" * 100)], 120)
    assert fits is not None
    assert 100 < len(fits) <= 120
    assert opened.render([Message("user", "a" * 100)], 16) is None


# Its threads are made as those of the service.
TOKENISES = """
import sys, threading
from services.llm import __main__ as program
from services.llm.model import Model
from services.llm.vocabulary import Message

def tokenise(*_):
    model = Model("made", sys.argv[1], gpu_layers=0)
    said = (Message("user", "a" * int(sys.argv[2])),)
    found = []
    thread = threading.Thread(target=lambda: found.append(model.render(said, 10**7)))
    thread.start()
    thread.join()
    print("refused" if found[0] is None else len(found[0]))

program.serve = tokenise
program.main()
"""


def tokenised(file: Path, letters: int) -> str:
    """How many tokens one long word has, in a program of its own."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("APPLIANCE_")
    }
    ended = subprocess.run(
        [sys.executable, "-c", TOKENISES, str(file), str(letters)], cwd=PROJECT_DIR,
        env=environment | {"APPLIANCE_DATA_DIR": str(file.parent)}, capture_output=True,
        text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ended.returncode != -signal.SIGSEGV
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.mark.timeout(60)
def test_a_word_without_end_does_not_end_the_program(tmp_path: Path) -> None:
    # This way of splitting calls itself once for each letter of a word.
    keys = {"template": SAID}
    file = ggufs.make(tmp_path / "made.gguf", words="tekken", only_keys=keys)
    assert int(tokenised(file, 200_000)) > 200_000
    # The longest that may get through: it begins just behind a piece's beginning.
    assert tokenised(file, 405_000).isdecimal()
    assert tokenised(file, 1_000_000) == "refused"
