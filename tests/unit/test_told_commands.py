"""Commands that the documentation tells an owner to type."""

from __future__ import annotations

import re
import shlex

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

DOCS = PROJECT_DIR / "docs"
_COMMAND = re.compile(r"(docker (compose|run)|scripts/appliance|sudo (bash|/)|ip6?tables -)")


def section(name: str, heading: str) -> str:
    """The text below this heading of a page."""
    text = (DOCS / name).read_text()
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_commands_stand_in_lines_of_their_own() -> None:
    for path in sorted(DOCS.glob("*.md")):
        text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert [line for line in text.splitlines() if _COMMAND.match(line)] == [], path.name


@pytest.mark.parametrize("table", ["iptables", "ip6tables"])
def test_the_firewall_lets_no_question_for_a_name_out(table: str) -> None:
    lines = section("operations.md", "Keeping the box silent").splitlines()
    rules = [line.split()[1:] for line in lines if line.startswith(f"    {table} ")]
    kept = [rule for rule in rules if rule[:2] == ["-A", "EARSHOT"]]
    # Before those of this machine and of private networks: the resolver is one of either.
    for rule, protocol in zip(kept, ("udp", "tcp"), strict=False):
        asked = f"-A EARSHOT -p {protocol} -m multiport --dports 53,853 -j REJECT"
        assert rule == asked.split()
    assert [rule[-1] for rule in kept[2:]] == ["RETURN", "RETURN", "RETURN", "REJECT"]
    (jump,) = (rule for rule in rules if "OUTPUT" in rule)
    assert jump == ["-I", "OUTPUT", "-m", "owner", "--uid-owner", "10001", "-j", "EARSHOT"]


def test_a_key_that_is_its_owners_alone_can_be_read_by_the_container() -> None:
    told = section("operations.md", "Calls from another machine")
    (command,) = re.findall(r"^    (docker run .*?[^\\])$", told, re.MULTILINE | re.DOTALL)
    words = shlex.split(command)
    assert words[words.index("--user") + 1] == "$(id -u):$(id -g)"
    assert words[words.index("--tmpfs") + 1] == "/data:uid=$(id -u)"
