"""What is looked at in an offer before anything is done for it, and what an answer must say beyond what aiortc says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from duologue.errors import ClientError

OFFER_CHARS = 64_000
"""Browsers' offers of sound and a data channel have 3,000; with several cameras some 20,000."""

MEDIA = 8
"""Lines of media in an offer: we take two."""

CANDIDATES = 30
"""Addresses of the client that are tried, each some ten times: nobody may name more to us as a target."""

OPUS = "minptime=10;useinbandfec=1"
"""Asks the client for error correction, which aiortc does not."""

HOST_CANDIDATE = re.compile(r"a=candidate:(\S+) (\S+) (\S+) (\S+) (?P<address>\S+) (?P<port>\d+) typ host\b.*")


def checked_offer(offer: str) -> str:
    """The offer without needless candidates. Raises `ClientError` (bad_sdp); that it is all right only aiortc can say.

    Candidates that are names are left out: browsers hide the client's addresses behind mDNS names, these cost a second to ask
    for, and the client's own checks show its address anyway. That there are no more is left out too: for the same reason it
    is never true, and aioice gives up where it was told of none.
    """
    if len(offer) > OFFER_CHARS:
        raise ClientError("bad_sdp", f"the offer has {len(offer)} characters; at most {OFFER_CHARS} are taken")
    lines = offer.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise ClientError("bad_sdp", "the offer is not SDP: it must begin with v=0")
    media = [line for line in lines if line.startswith("m=")]
    if len(media) > MEDIA:
        raise ClientError("bad_sdp", f"the offer has {len(media)} lines of media; at most {MEDIA} are taken")
    if not any(line.startswith("m=audio ") for line in media):
        raise ClientError("bad_sdp", "the offer has no audio")
    if not any(line.startswith("a=fingerprint:") for line in lines):
        raise ClientError("bad_sdp", "the offer has no fingerprint: sound and messages are encrypted, always")
    return "".join(f"{line}\r\n" for line in _tried(lines))


def _tried(lines: Sequence[str]) -> Iterator[str]:
    candidates = 0
    for line in lines:
        if line.startswith("a=candidate:"):
            candidates += 1
            if candidates > CANDIDATES or not _usable(line.split()):
                continue
        if line.strip() and not line.startswith("a=end-of-candidates"):
            yield line


def _usable(candidate: Sequence[str]) -> bool:
    """`a=candidate:FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ …`. aioice sends to whatever stands there."""
    try:
        _, component, transport, priority, address, port, typ, *_ = candidate
        ip_address(address)
        return (
            (component, transport.lower(), typ) == ("1", "udp", "typ") and int(priority) > 0 and 0 < int(port) < 65536
        )
    except ValueError:
        return False


def finished_answer(answer: str, advertise: Sequence[str]) -> str:
    """With Opus' parameters; and with the addresses of `advertise`, if there are any, in place of the machine's own.

    Each takes the place of every address of its family, at the same ports: that is what routers and containers forward.
    """
    return "".join(f"{line}\r\n" for line in _finished(answer.splitlines(), advertise))


def _finished(lines: Sequence[str], advertise: Sequence[str]) -> Iterator[str]:
    told: set[str] = set()
    for line in lines:
        if line.startswith("m="):
            told.clear()
        if opus := re.match(r"a=rtpmap:(\d+) opus/", line):
            yield line
            yield f"a=fmtp:{opus[1]} {OPUS}"
        elif advertise and (candidate := HOST_CANDIDATE.fullmatch(line)):
            elsewhere = dict.fromkeys(_elsewhere(candidate, advertise))
            yield from (line for line in elsewhere if line not in told)
            told.update(elsewhere)
        elif advertise and line.startswith("c=IN "):
            yield f"c=IN IP{ip_address(advertise[0]).version} {advertise[0]}"
        else:
            yield line


def _elsewhere(candidate: re.Match[str], advertise: Sequence[str]) -> Iterator[str]:
    own = ip_address(candidate["address"])
    for address in advertise:
        if ip_address(address).version == own.version:
            start, end = candidate.span("address")
            yield candidate.string[:start] + address + candidate.string[end:]
