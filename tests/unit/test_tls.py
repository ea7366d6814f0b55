"""The box's certificate authority: made once, good for private networks alone, mended at each start."""

from __future__ import annotations

import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from appliance.errors import BadSettings
from appliance.settings import Settings
from appliance.tls import authority
from appliance.tls.authority import keep_authority, load_certificate
from appliance.tls.leaves import leaf_for
from appliance.tls.names import as_address, covers, permits
from appliance.tls.places import Pair, intermediate, root, storage, tls_dir
from appliance.tls.preparing import prepare
from appliance.tls.state import door_certificate
from tests import certificates

pytestmark = pytest.mark.unit


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An open box called box."""
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    return opened(tmp_path)


def opened(folder: Path, address: str = "192.168.1.20", **front: Any) -> Settings:
    """A box with an open door."""
    return Settings(
        data_dir=folder, front={"lan": True, "names": ["ear.clinic.example"], **front},
        livekit={"node_ip": address},
    )  # fmt: skip


def kept(settings: Settings, name: str, begins: int = -1, ends: int = 90) -> Path:
    """A leaf as Caddy keeps it; returns its folder."""
    folder = storage(settings) / "certificates" / "local" / name.replace(":", "-")
    pair = certificates.write(
        folder, [name], intermediate(settings),
        begins=timedelta(days=begins), ends=timedelta(days=ends),
    )  # fmt: skip
    return pair.folder


def test_root_and_intermediate_are_made_once_and_their_owners_alone(box: Settings) -> None:
    assert keep_authority(box) == []
    made = {path: path.read_bytes() for path in sorted(tls_dir(box).iterdir())}
    assert [path.name for path in made] == [
        "intermediate.crt", "intermediate.key", "root.crt", "root.key",
    ]  # fmt: skip
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    assert stat.S_IMODE(tls_dir(box).stat().st_mode) == 0o700
    assert keep_authority(box) == []
    assert {path: path.read_bytes() for path in sorted(tls_dir(box).iterdir())} == made
    trusted = load_certificate(root(box).certificate)
    lasts = trusted.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=3649) < lasts <= timedelta(days=3650)


@pytest.mark.parametrize(
    ("name", "signed_for"),
    [
        ("192.168.1.20", True), ("10.200.0.1", True), ("172.31.255.1", True), ("169.254.3.4", True),
        ("127.0.0.1", True), ("::1", True), ("fd00::7", True), ("fe80::7", True),
        ("localhost", True), ("box", False), ("other.local", True), ("ear.clinic.example", True),
        ("172.32.0.1", False), ("8.8.8.8", False), ("2001:db8::1", False), ("0.0.0.1", False),
        ("example.com", False), ("clinic.example", False), ("notlocal", False),
        ("ear.clinic.example.com", False),
    ],
)  # fmt: skip
def test_a_device_that_trusts_the_box_trusts_it_for_nothing_else(
    box: Settings, name: str, signed_for: bool
) -> None:
    keep_authority(box)
    trusted, between = (
        load_certificate(pair.certificate) for pair in (root(box), intermediate(box))
    )
    leaf, _key = certificates.sign([name], intermediate(box))
    for one in (trusted, between):
        constraints = one.extensions.get_extension_for_class(x509.NameConstraints)
        assert constraints.critical
        assert permits(one, name) is signed_for
    address = as_address(name)
    subject = x509.IPAddress(address) if address else x509.DNSName(name)
    # The library's own judgement, as a browser's.
    verifier = PolicyBuilder().store(Store([trusted])).build_server_verifier(subject)
    if signed_for:
        assert len(verifier.verify(leaf, [between])) == 3
    else:
        with pytest.raises(VerificationError, match="permitted"):
            verifier.verify(leaf, [between])


@pytest.mark.parametrize(("host", "given"), [("dev", []), ("box", ["dev", "EAR"])])
def test_no_name_without_a_dot_is_signed_for_nor_what_lies_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, given: list[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    settings = opened(tmp_path, names=[*given, "ear.lan"])
    door = prepare(settings)
    known = ["192.168.1.20", f"{host}.local", "ear.lan", "localhost", "127.0.0.1", "::1"]
    assert door.names == known
    if given:
        (said,) = door.warnings
        assert "for no name without a dot, such as dev, ear: it could be a whole domain" in said
    else:
        assert door.warnings == []
    for pair in (root(settings), intermediate(settings)):
        kept = load_certificate(pair.certificate)
        assert not any(
            permits(kept, name) for name in ("dev", "web.dev", "ear", "lan", "other.lan")
        )
        assert permits(kept, "ear.lan")


def test_it_signs_for_servers_and_not_for_programs_or_mail(box: Settings) -> None:
    keep_authority(box)
    for pair in (root(box), intermediate(box)):
        usage = load_certificate(pair.certificate).extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        )
        assert list(usage.value) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_an_address_outside_is_known_if_the_box_had_it_first(tmp_path: Path) -> None:
    first = opened(tmp_path, "141.20.1.5")
    assert prepare(first).names[0] == "141.20.1.5"
    moved = prepare(opened(tmp_path, "141.20.1.6"))
    assert "141.20.1.6" not in moved.names
    (said,) = moved.warnings
    assert "before it knew 141.20.1.6" in said


def test_a_second_box_is_another_authority(tmp_path: Path) -> None:
    boxes = [opened(tmp_path / name) for name in ("one", "two")]
    for each in boxes:
        keep_authority(each)
    names = {load_certificate(root(each).certificate).subject for each in boxes}
    assert len(names) == 2


def test_an_authority_that_ended_is_made_anew_and_said(
    box: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(authority, "LASTS", timedelta(0))
        keep_authority(box)
    old = root(box).certificate.read_bytes()
    leaf = kept(box, "192.168.1.20")
    (said,) = prepare(box).warnings
    assert "had ended, and a new one was made" in said
    assert root(box).certificate.read_bytes() != old
    assert not leaf.exists()
    assert prepare(box).warnings == []


def test_a_clock_before_the_authority_makes_no_new_one(
    box: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "_BACKDATED", timedelta(days=-400))
    keep_authority(box)
    old = root(box).certificate.read_bytes()
    (said,) = keep_authority(box)
    assert "other devices cannot trust it until the clock is set" in said
    assert root(box).certificate.read_bytes() == old


@pytest.mark.parametrize("name", ["intermediate.crt", "intermediate.key"])
@pytest.mark.parametrize("content", [None, "nonsense"])
def test_an_intermediate_that_is_damaged_is_made_anew(
    box: Settings, name: str, content: str | None
) -> None:
    keep_authority(box)
    trusted = root(box).certificate.read_bytes()
    damaged = tls_dir(box) / name
    damaged.unlink() if content is None else damaged.write_text(content)
    assert keep_authority(box) == []
    between = load_certificate(intermediate(box).certificate)
    between.verify_directly_issued_by(load_certificate(root(box).certificate))
    assert root(box).certificate.read_bytes() == trusted


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_a_root_without_its_key_serves_on_and_signs_no_more(
    box: Settings, content: str | None
) -> None:
    keep_authority(box)
    root(box).key.unlink() if content is None else root(box).key.write_text(content)
    assert keep_authority(box) == []
    intermediate(box).key.unlink()
    with pytest.raises(BadSettings, match=r"root\.key is missing") as raised:
        keep_authority(box)
    assert "backup" in raised.value.hint


def test_a_damaged_root_is_said_and_not_replaced(box: Settings) -> None:
    keep_authority(box)
    root(box).certificate.write_text("nonsense")
    with pytest.raises(BadSettings, match=r"root\.crt is damaged"):
        keep_authority(box)
    assert root(box).certificate.read_text() == "nonsense"


def test_leaves_of_no_more_use_are_dropped_at_a_start(box: Settings, tmp_path: Path) -> None:
    prepare(box)
    good = kept(box, "192.168.1.20")
    ended = kept(box, "ear.clinic.example", begins=-90, ends=-1)
    early = kept(box, "box.local", begins=1)
    before = kept(box, "192.168.1.99")
    strangers = opened(tmp_path / "other")
    keep_authority(strangers)
    strange = certificates.write(
        good.with_name("localhost"), ["localhost"], intermediate(strangers)
    )
    damaged = good.with_name("127.0.0.1")
    damaged.mkdir()
    (damaged / "127.0.0.1.crt").write_text("nonsense")
    prepare(box)
    assert good.exists()
    assert not any(each.exists() for each in (ended, early, before, strange.folder, damaged))
    assert leaf_for(box, "192.168.1.20") is not None
    assert leaf_for(box, "192.168.1.99") is None


def test_what_devices_are_shown(box: Settings) -> None:
    assert door_certificate(box) is None
    prepare(box)
    shown = door_certificate(box)
    assert shown is not None
    assert (shown.own, shown.names[0], shown.valid_until) == (False, "192.168.1.20", None)
    der = load_certificate(root(box).certificate).public_bytes(Encoding.DER)
    assert ssl.PEM_cert_to_DER_cert(shown.root_pem.decode()) == der
    assert len(shown.fingerprint) == 95
    assert shown.fingerprint == shown.fingerprint.upper()
    kept(box, "192.168.1.20")
    shown = door_certificate(box)
    assert shown is not None
    assert shown.valid_until is not None
    closed = box.model_copy(update={"front": box.front.model_copy(update={"lan": False})})
    assert door_certificate(closed) is None


def own(folder: Path, pair: Pair) -> Settings:
    """An open box with the owner's certificate."""
    return opened(folder, certificate=pair.certificate, certificate_key=pair.key)


def test_the_owners_certificate_is_used_as_it_is(box: Settings, tmp_path: Path) -> None:
    names = ["192.168.1.20", "box", "*.local", "ear.clinic.example"]
    pair = certificates.write(tmp_path / "own", names)
    settings = own(tmp_path, pair)
    door = prepare(settings)
    assert door.own is not None
    assert (door.own.chain, door.own.key, door.warnings) == (pair.certificate, pair.key, [])
    assert not tls_dir(settings).exists()
    shown = door_certificate(settings)
    assert shown is not None
    assert (shown.own, shown.root_pem, shown.names) == (True, b"", tuple(names))


def test_files_without_a_folder_lie_in_the_data_folder(box: Settings, tmp_path: Path) -> None:
    certificates.write(tmp_path / "tls", ["ear.clinic.example"])
    settings = opened(
        tmp_path, certificate=Path("tls/door.crt"), certificate_key=Path("tls/door.key")
    )
    assert prepare(settings).own is not None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ends": timedelta(days=-1), "begins": timedelta(days=-9)}, "expired on"),
        ({"begins": timedelta(days=1)}, "is valid from"),
        ({"names": ["ear.clinic.example"]}, "lacks 192.168.1.20, box.local; browsers warn"),
        ({"names": ["elsewhere.example"]}, "is for elsewhere.example, none of which"),
    ],
)
def test_what_browsers_will_say_of_it_is_said_before(
    box: Settings, tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    names = given.pop("names", ["192.168.1.20", "box", "box.local", "ear.clinic.example"])
    pair = certificates.write(tmp_path / "own", names, **given)
    (said,) = prepare(own(tmp_path, pair)).warnings
    assert sentence in said


def test_an_owners_certificate_that_cannot_be_used_stops_the_start(
    box: Settings, tmp_path: Path
) -> None:
    good = certificates.write(tmp_path / "good", ["box"])
    other = certificates.write(tmp_path / "other", ["box"])
    locked = certificates.write(tmp_path / "locked", ["box"], passphrase="five words")
    nothing = Pair(tmp_path, "nothing")
    text = tmp_path / "text.pem"
    text.write_text("no PEM")
    for certificate, key, sentence in (
        (good.certificate, other.key, "is not the key of the first certificate"),
        (locked.certificate, locked.key, "locked with a passphrase"),
        (nothing.certificate, good.key, "certificate .*nothing.crt cannot be read: no such file"),
        (good.certificate, nothing.key, "key .*nothing.key cannot be read: no such file"),
        (text, good.key, "text.pem holds no certificate"),
        (good.certificate, text, "text.pem holds no private key"),
        (good.certificate, None, "needs front.certificate_key too"),
        (None, good.key, "needs front.certificate too"),
    ):
        with pytest.raises(BadSettings, match=sentence):
            prepare(opened(tmp_path, certificate=certificate, certificate_key=key))


def test_a_wildcard_is_for_one_label(tmp_path: Path) -> None:
    leaf, _key = certificates.sign(["*.clinic.example", "10.0.0.1"])
    assert covers(leaf, "EAR.clinic.example")
    assert covers(leaf, "10.0.0.1")
    for other in ("clinic.example", "a.b.clinic.example", "10.0.0.2", "example"):
        assert not covers(leaf, other)
