"""Two network namespaces with a cable between them: the box at one end, a phone at the other."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BOX, PHONE = "10.98.0.1", "10.98.0.2"
_BOX_END, _PHONE_END = "box0", "phone0"


@dataclass(frozen=True)
class Place:
    """One end of the cable: where commands can be run."""

    prefix: tuple[str, ...]
    """Put before a command, it runs there."""

    def run(self, *command: str) -> None:
        """Run it there; it must succeed."""
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"

    def script(self, path: Path, program: str) -> Path:
        """Write a program that does the same as this one, there."""
        path.write_text(f'#!/bin/sh\nexec {shlex.join([*self.prefix, program])} "$@"\n')
        path.chmod(0o755)
        return path


@dataclass(frozen=True)
class Cable:
    """Both ends."""

    box: Place
    phone: Place

    @contextmanager
    def without_udp(self) -> Iterator[None]:
        """Drop every datagram from the phone without a word, as firewalls do.

        A routing rule and no packet filter, which not every kernel has.
        """
        rule = ("iif", _BOX_END, "ipproto", "udp", "blackhole")
        # What is for this machine is looked up before everything else, unless it is told otherwise.
        self.box.run("ip", "rule", "add", "pref", "2", "lookup", "local")
        self.box.run("ip", "rule", "del", "pref", "0")
        self.box.run("ip", "rule", "add", "pref", "1", *rule)
        try:
            yield
        finally:
            self.box.run("ip", "rule", "del", "pref", "1")
            self.box.run("ip", "rule", "add", "pref", "0", "lookup", "local")
            self.box.run("ip", "rule", "del", "pref", "2")


@contextmanager
def cable() -> Iterator[Cable]:
    """Lay it. Needs root, or user namespaces that everybody may make; neither end has a route out."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    enter = ("nsenter", *(("--user", "--preserve-credentials") if user else ()))
    with _held("unshare", *user, "--net") as box_pid:
        box = Place((*enter, "--net", "--target", str(box_pid)))
        with _held(*box.prefix, "unshare", "--net") as phone_pid:
            phone = Place((*enter, "--net", "--target", str(phone_pid)))
            _lay(box, phone, phone_pid)
            yield Cable(box, phone)


def _lay(box: Place, phone: Place, phone_pid: int) -> None:
    box.run("ip", "link", "set", "lo", "up")
    box.run("ip", "link", "add", "name", _BOX_END, "type", "veth", "peer", "name", _PHONE_END)
    box.run("ip", "link", "set", _PHONE_END, "netns", str(phone_pid))
    phone.run("ip", "link", "set", "lo", "up")
    for place, end, address in ((box, _BOX_END, BOX), (phone, _PHONE_END, PHONE)):
        place.run("ip", "address", "add", f"{address}/24", "dev", end)
        place.run("ip", "link", "set", end, "up")


@contextmanager
def _held(*command: str) -> Iterator[int]:
    """Keep new namespaces for as long as this lasts; gives the process that is in them."""
    process = subprocess.Popen([*command, "sh", "-c", "echo in; exec sleep infinity"],
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n", f"`{shlex.join(command)}` was refused here"
        yield process.pid
    finally:
        process.kill()
        process.wait(10)
