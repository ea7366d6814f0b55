"""The owner's age key: backups are sealed for its public part, the only one that the box has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from appliance.errors import ApplianceError, BadInput, BadSettings, Refused
from appliance.settings import Settings

if TYPE_CHECKING:
    from pyrage import x25519

_BEGINNING = "AGE-SECRET-KEY-1"


class NewKey(NamedTuple):
    """A key that was just made."""

    identity: str
    """Opens backups; belongs to the owner and is kept nowhere on the box."""
    recipient: str
    """Seals them."""


def new_key() -> NewKey:
    """A key of its own."""
    from pyrage import x25519

    identity = x25519.Identity.generate()
    return NewKey(str(identity), str(identity.to_public()))


def recipient_of(settings: Settings) -> x25519.Recipient:
    """What this box seals its backups for.

    Raises:
        Refused: none is set.
        BadSettings: it is none.
    """
    from pyrage import RecipientError, x25519

    if not settings.backup.recipient:
        raise Refused(
            "backup_no_recipient", "No key is set that backups could be sealed for.",
            "`scripts/appliance backup key` makes one; or set backup.recipient to an age key of yours.",
        )  # fmt: skip
    try:
        return x25519.Recipient.from_str(settings.backup.recipient)
    except RecipientError as error:
        raise BadSettings(
            "backup_recipient_invalid", "The setting 'backup.recipient' is no age key: a letter is wrong.",
            "Copy the whole line that begins with age1 again.",
        ) from error  # fmt: skip


def identities_in(text: str) -> list[x25519.Identity]:
    """The keys of an identity file, as `scripts/appliance backup key` or age-keygen writes it.

    Raises:
        BadInput: there is none in it.
    """
    from pyrage import IdentityError, x25519

    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line.upper().startswith(_BEGINNING)]
    if not found:
        raise _no_identity()
    try:
        return [x25519.Identity.from_str(line) for line in found]
    except IdentityError as error:
        raise _no_identity() from error


def _no_identity() -> ApplianceError:
    return BadInput(
        "identity_invalid", "This file holds no key that opens backups.",
        f"Give the file with the line that begins with {_BEGINNING}.",
    )  # fmt: skip
