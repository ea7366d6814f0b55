"""The certificate of the https door: other devices refuse it once it has ended or names another address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.addresses import lan_address
from appliance.checks.finding import Finding, fail, ok, warn
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "Other devices can trust the box's certificate."
_OWN_SOON = timedelta(days=30)
# Caddy renews a third of 90 days before the end.
_LEAF_SOON = timedelta(days=20)
_ROOT_SOON = timedelta(days=180)
_RESTART = "Restart the box: it finds its address and renews its certificates at each start."


def look(settings: Settings) -> Finding:
    """What is handed out, against the clock and the machine's address now.

    Raises:
        ApplianceError: the owner's certificate cannot be used.
    """
    if not settings.front.lan:
        return ok("The box is closed to other devices.")
    # Heavy, and needed where the door is open alone.
    from appliance.tls.names import covers
    from appliance.tls.own import judged, own_certificate

    own = own_certificate(settings)
    if own is None:
        return _boxs_own(settings)
    until = own.leaf.not_valid_after_utc
    said = " ".join(judged(settings, own))
    if until <= datetime.now(UTC):
        return fail(said, "Put a new one in its place and restart the box.")
    if until - datetime.now(UTC) < _OWN_SOON:
        return warn(
            f"The owner's certificate ends on {until:%Y-%m-%d}.",
            "Put a new one in its place and restart the box.",
        )
    # Nobody signs private addresses: what the owner named is what the certificate is for.
    named = settings.front.names
    if said and not (named and all(covers(own.leaf, name) for name in named)):
        return warn(said, "Open the box by a name that the certificate is for.")
    return ok(f"The owner's certificate is valid until {until:%Y-%m-%d}.")


def _boxs_own(settings: Settings) -> Finding:
    from appliance.tls.authority import load_certificate
    from appliance.tls.leaves import leaf_for
    from appliance.tls.places import root

    try:
        trusted = load_certificate(root(settings).certificate)
    except FileNotFoundError:
        return ok("It is made at the first start with an open door.")
    now, address = datetime.now(UTC), lan_address(settings)
    if now < trusted.not_valid_before_utc:
        return fail(
            f"The clock says {now:%Y-%m-%d}, which is before the box's certificate authority was made.",
            "Set the machine's clock.",
        )
    if trusted.not_valid_after_utc - now < _ROOT_SOON:
        return warn(
            f"The box's certificate authority ends on {trusted.not_valid_after_utc:%Y-%m-%d}.",
            f"Remove {root(settings).folder} and restart the box to have a new one made; every device "
            "has to trust it anew.",
        )
    if not members(settings.run_dir):
        return ok("The front door sees to its certificates when it starts.")
    leaf = leaf_for(settings, address)
    if leaf is None:
        return fail(f"The box has no certificate for its address {address}.", _RESTART)
    until = leaf.not_valid_after_utc
    if until - now < _LEAF_SOON:
        return fail(f"The certificate for {address} ends on {until:%Y-%m-%d}.", _RESTART)
    return ok(f"The certificate for {address} is valid until {until:%Y-%m-%d}, and renewed before.")
