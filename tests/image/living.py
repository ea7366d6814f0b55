"""A box in a container as its owner has it: compose files, .env, the command beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.box import _free_ports
from tests.image.conftest import ROOT
from tests.waiting import until

READY_WITHIN_S = 300
GPU, CPU = "docker-compose.yml", "docker-compose.cpu.yml"


class Life:
    """One project of compose with volumes and ports of its own."""

    def __init__(self, folder: Path, image: str, name: str, *more_files: str) -> None:
        self.folder, self.image, self.name = folder, image, name
        http, https, livekit, tcp, udp, health = _free_ports(6)
        self.http_port, self.https_port = http, https
        self.ports = {"livekit": livekit, "tcp": tcp, "udp": udp, "health": health}
        self.url = f"http://localhost:{http}"
        for path in ROOT.glob("docker-compose*.yml"):
            shutil.copy(path, folder)
        shutil.copytree(ROOT / "scripts" / "host", folder / "scripts" / "host")
        shutil.copy(ROOT / "scripts" / "appliance", folder / "scripts")
        self.set(
            COMPOSE_PROJECT_NAME=name, COMPOSE_FILE=":".join((GPU, CPU, *more_files)),
            EARSHOT_IMAGE=image,
            APPLIANCE_FRONT__HTTP_PORT=http, APPLIANCE_FRONT__HTTPS_PORT=https,
            APPLIANCE_LIVEKIT__PORT=livekit, APPLIANCE_LIVEKIT__TCP_PORT=tcp,
            APPLIANCE_LIVEKIT__UDP_PORT=udp, APPLIANCE_AGENT__HEALTH_PORT=health,
        )  # fmt: skip

    def set(self, **variables: object) -> None:
        """Add lines to its .env."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in variables.items())

    def run(
        self, *command: str | Path, check: bool = True, timeout_s: float = READY_WITHIN_S
    ) -> subprocess.CompletedProcess[str]:
        """A command in its folder, with nothing of this test's environment."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("APPLIANCE_", "COMPOSE_", "EARSHOT_"))
        }  # fmt: skip
        done = subprocess.run(
            [str(part) for part in command], cwd=self.folder, env=kept, text=True, check=False,
            capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose` with these arguments; its stdout."""
        return self.run("docker", "compose", *arguments, check=check).stdout

    def command(self, *arguments: str | Path, check: bool = True) -> str:
        """`scripts/appliance` as on a host without a set-up; its stdout."""
        return self.run(self.folder / "scripts" / "appliance", *arguments, check=check).stdout

    def inside(self, *command: str, check: bool = True) -> str:
        """A command in the running container; its stdout."""
        return self.compose("exec", "-T", "earshot", *command, check=check)

    def up(self) -> None:
        """Start it and wait until Docker calls it healthy."""
        self.compose("up", "--detach", "--no-build")
        self.until(lambda: self.health == "healthy", "healthy")

    def down(self) -> None:
        """Stop it; its volumes stay."""
        self.compose("down", "--timeout", "60")

    def remove(self) -> None:
        """Leave nothing of it."""
        self.compose("down", "--volumes", "--timeout", "60", check=False)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something of the whole box; its last words if it does not come."""
        try:
            # Each look starts a program of Docker's.
            until(condition, READY_WITHIN_S, what, pause_s=0.5)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.logs()}") from None

    def until_ready(self) -> None:
        """Wait until it takes calls, which its health check notices a few seconds later."""

        def ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False).is_success
            except httpx.TransportError:
                return False

        self.until(ready, "ready")

    def logs(self) -> str:
        """What `docker compose logs` shows."""
        return self.compose("logs", "--no-color", "--no-log-prefix", check=False)

    @property
    def container(self) -> str:
        """Its container's id."""
        return self.compose("ps", "--all", "--quiet", "earshot").strip()

    def inspect(self, what: str) -> Any:
        """A part of what Docker knows of the container."""
        found = self.run("docker", "inspect", "--format", f"{{{{json {what}}}}}", self.container)
        return json.loads(found.stdout)

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy."""
        return str(self.inspect(".State.Health.Status"))

    @property
    def address(self) -> str:
        """What it says that the network reaches it by."""
        lines = self.logs().splitlines()
        told = [line for line in lines if line.startswith("In the network:")]
        return told[-1].split()[-1]

    @property
    def token(self) -> str:
        """What the command on the box signs in with."""
        return self.inside("cat", "/data/secrets/local_token").strip()

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The API on this machine, as its owner."""
        answer = httpx.request(
            method, self.url + path, json=body, trust_env=False, timeout=30,
            headers={"Authorization": f"Bearer {self.token}"},
        )  # fmt: skip
        assert answer.is_success, answer.text
        return answer.json()

    def heard_in(self, session_id: str) -> list[str]:
        """What the store has of this call's callers."""
        found = self.api("GET", f"/api/v1/sessions/{session_id}/transcript")
        return [turn["user_text"] for turn in found["turns"] if turn["user_text"]]

    def key_and_root(self) -> tuple[Path, Path]:
        """Files for a caller from elsewhere: a key that may place calls, and the box's authority."""
        key, root = self.folder / "key", self.folder / "root.crt"
        made = self.api("POST", "/api/v1/keys", {"name": "caller", "scopes": ["calls"]})
        key.write_text(made["key"])
        root.write_text(self.inside("cat", "/data/tls/root.crt"))
        return key, root
