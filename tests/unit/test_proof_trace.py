"""The judge of the offline proof: what strace prints, and what counts as leaving."""

from __future__ import annotations

import pytest

from appliance.proof.ice import public
from appliance.proof.trace import attempts

pytestmark = pytest.mark.unit

OWN = {"10.99.0.1", "fe80::1"}


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('12 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("10.99.0.2")}, 16) = 1', "10.99.0.2"),
        ('12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16) = -1 ENETUNREACH', "8.8.8.8"),
        ('12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0', "127.0.0.53"),
        ('12 connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2606:4700::1111", &sin6_addr), sin6_scope_id=0}, 28) = -1', "2606:4700::1111"),
        ('12 <... sendmmsg resumed> [{msg_hdr={msg_name={sa_family=AF_INET, sin_port=htons(5353), sin_addr=inet_addr("224.0.0.251")}', "224.0.0.251"),
        ('7 sendto(5, "", 0, 0, {sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "::ffff:10.99.0.2", &sin6_addr), sin6_scope_id=0}, 28) = 0', "::ffff:10.99.0.2"),
    ],
)  # fmt: skip
def test_what_leaves_is_found(line: str, address: str) -> None:
    assert [attempt.address for attempt in attempts([line], OWN)] == [address]


@pytest.mark.parametrize(
    "line",
    [
        '12 connect(3, {sa_family=AF_UNIX, sun_path="/run/x.sock"}, 110) = 0',
        '12 connect(3, {sa_family=AF_INET, sin_port=htons(7880), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
        '12 sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(7882), sin_addr=inet_addr("10.99.0.1")}, 16) = 1',
        '12 sendto(9, "x", 1, 0, {sa_family=AF_INET6, sin6_port=htons(7882), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "fe80::1", &sin6_addr), sin6_scope_id=0}, 28) = 1',
        '12 connect(3, {sa_family=AF_INET6, sin6_port=htons(1), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
        "12 sendmsg(3, {msg_name=NULL, msg_namelen=0}, 0) = 5",
        "12 --- SIGCHLD {si_signo=SIGCHLD} ---",
    ],
)  # fmt: skip
def test_what_stays_is_not(line: str) -> None:
    assert not list(attempts([line], OWN))


def test_public_stun_is_named() -> None:
    urls = [
        "stun:127.0.0.1:3478",
        "stun:10.99.0.1:3478",
        "stun:stun.l.google.com:19302",
        "turn:192.0.2.9:3478?transport=udp",
    ]
    assert public(urls, OWN) == urls[2:]
