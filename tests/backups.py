"""A box with something to lose, and the owner's key to its backups."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrage import encrypt, x25519

from appliance.backup.keys import NewKey, identities_in, new_key
from appliance.backup.making import make
from appliance.backup.shelf import Backup
from appliance.preflight import prepare_folders
from appliance.secrets import livekit_keys, local_token
from appliance.settings import Settings
from appliance.store import EndState, Session, Store, open_store

PASSWORD_HASH = "$argon2id$v=19$of-the-owner"
PERSONA = "name: anna\ninstructions: Be brief.\n"


@dataclass
class KeptBox:
    """A data folder, its settings and the key."""

    settings: Settings
    key: NewKey

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.settings.data_dir

    @property
    def identities(self) -> list[x25519.Identity]:
        """What opens its backups."""
        return identities_in(self.key.identity)

    def store(self) -> Store:
        """Its store, to be closed."""
        return open_store(self.settings)

    def with_backup(self, **changes: Any) -> Settings:
        """The settings with others of the group ``backup``."""
        return self.settings.model_copy(
            update={"backup": self.settings.backup.model_copy(update=changes)}
        )

    def talk(self, said: str = "a question", answer: str = "an answer") -> Session:
        """A call that was held."""
        store = self.store()
        session = store.sessions.create(persona="anna", keep_transcript=True)
        index = store.turns.begin(session.id, said)
        store.turns.finish(session.id, index, answer, interrupted=False, ms={})
        store.sessions.end(session.id, EndState.COMPLETED)
        store.close()
        return session

    def make(self) -> Backup:
        """Make a backup."""
        return make(self.settings)


def a_box(folder: Path, **backup: Any) -> KeptBox:
    """A box that has a password, secrets, a persona, settings and an authority of its own."""
    key = new_key()
    settings = Settings(data_dir=folder, backup={"recipient": key.recipient, **backup})
    prepare_folders(settings)
    livekit_keys(settings)
    local_token(settings)
    (folder / "personas" / "anna.yaml").write_text(PERSONA)
    (folder / "tls").mkdir(mode=0o700)
    (folder / "tls" / "root.crt").write_text("the authority")
    settings.settings_file.write_text(f'# mine\n[backup]\nrecipient = "{key.recipient}"\n')
    store = open_store(settings)
    store.owner.claim(PASSWORD_HASH)
    store.close()
    return KeptBox(settings, key)


def state_of(folder: Path) -> dict[str, bytes]:
    """Everything that a restore may change, byte by byte, but for what SQLite keeps beside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.endswith((".lock", "-wal", "-shm"))
        and path.relative_to(folder).parts[0] not in ("logs", "run", "backups")
    }


def sealed_tar(target: Path, recipient: str, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A sealed tar of whatever somebody thinks of."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    target.write_bytes(encrypt(plain.getvalue(), [x25519.Recipient.from_str(recipient)]))
    return target
