"""Where the box keeps its certificate authority and what it signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.settings import Settings


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        """Public."""
        return self.folder / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        """The box's owner's alone."""
        return self.folder / f"{self.name}.key"


def tls_dir(settings: Settings) -> Path:
    """Folder of the authority and of what it signed, 0700."""
    return settings.data_dir / "tls"


def root(settings: Settings) -> Pair:
    """What devices trust."""
    return Pair(tls_dir(settings), "root")


def intermediate(settings: Settings) -> Pair:
    """What signs the front door's certificates."""
    return Pair(tls_dir(settings), "intermediate")


def storage(settings: Settings) -> Path:
    """The folder that both front doors share, so that only one of them renews."""
    return tls_dir(settings) / "caddy"
