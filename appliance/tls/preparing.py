"""Seeing to the certificates of the https door before it opens."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.addresses import lan_names
from appliance.errors import BadSettings
from appliance.settings import Settings
from appliance.tls.authority import keep_authority
from appliance.tls.leaves import drop_useless
from appliance.tls.names import is_one_label, names_of
from appliance.tls.own import OwnCertificate, judged, own_certificate
from appliance.tls.state import served_names


@dataclass(frozen=True)
class Prepared:
    """With what the https door is opened.

    Attributes:
        names: what it goes by.
        unnamed: whose certificate clients get that name none, or another.
        own: the owner's certificate; None: the front door has its own made by the box's authority.
        warnings: what the owner should know, a sentence each.
    """

    names: list[str]
    unnamed: str
    own: OwnCertificate | None
    warnings: list[str]


def prepare(settings: Settings) -> Prepared:
    """See to the certificates of the https door; call it before the front door starts.

    Raises:
        BadSettings: the owner's certificate, or the box's authority, cannot be used.
    """
    own = own_certificate(settings)
    if own is not None:
        # A wildcard is for any one label.
        unnamed = next(iter(names_of(own.leaf)), "localhost").replace("*", "earshot")
        return Prepared(lan_names(settings), unnamed, own, judged(settings, own))
    warnings = keep_authority(settings)
    names = served_names(settings)
    try:
        drop_useless(settings, names)
    except OSError as error:
        raise BadSettings(
            "certificate_stuck", "An old certificate of the front door cannot be removed: "
            f"{(error.strerror or 'unknown').lower()}.", "Check the owner of the data folder.",
        ) from error  # fmt: skip
    left = [name for name in lan_names(settings) if name not in names]
    if short := [name for name in left if is_one_label(name)]:
        warnings.append(_short(short))
    if strange := [name for name in left if not is_one_label(name)]:
        warnings.append(_strange(strange))
    return Prepared(names, names[0], None, warnings)


def _short(names: list[str]) -> str:
    return (
        f"The box's certificate authority signs for no name without a dot, such as {', '.join(names)}: it "
        "could be a whole domain of the internet. Put the name with its domain into front.names."
    )


def _strange(names: list[str]) -> str:
    return (
        f"The box's certificate authority was made before it knew {', '.join(names)}, and may not sign "
        "for that; remove the folder tls in the data folder to have a new one made, which every other "
        "device then has to trust anew."
    )
