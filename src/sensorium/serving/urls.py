"""Media behind an http address, fetched only where whoever runs the server allows it, and only from public ones.

address ──► resolved once, judged ──► connected to that very address ──► bytes, bounded in number and time
                  ▲                                                 │
                  └──────────── redirect (at most 3), judged anew ──┘

A caller who names an address makes the server speak from inside its own network, to its neighbours and to the
machine's metadata service if it is let (server-side request forgery). So the judgement is made where the connection
is: a name that answers with a public address when asked and with a private one when connected to (DNS rebinding)
gains nothing, since it is asked once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import certifi
import httpcore
import httpx

from sensorium.serving.body import allowance
from sensorium.serving.refused import Refused

if TYPE_CHECKING:
    from sensorium.serving.settings import Settings

REDIRECTS = 3
LONGEST = 2048  # characters of an address
PORTS = frozenset((80, 443))
_MOVED = (301, 302, 303, 307, 308)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

# What `is_global` of the standard library passes although no media of the public lie there.
_V4 = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.88.99.0/24",  # relays of 6to4, RFC 7526
            "168.63.129.16/32",  # the service of Azure's virtual machines, reached from inside alone
        ),
    )
)
_GLOBAL_V6 = ipaddress.ip_network(
    "2000::/3"
)  # RFC 4291 §2.4; so neither ::ffff:0:0/96 nor NAT64's 64:ff9b::/96
_V6 = tuple(
    map(
        ipaddress.ip_network,
        (
            "2001::/23",  # protocols' own: Teredo carries IPv4 addresses in it, RFC 4380
            "2002::/16",  # 6to4 carries IPv4 addresses in it, RFC 3056
            "3fff::/20",  # for documents, RFC 9637
        ),
    )
)


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the machine's resolver gives them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def is_public(address: Address) -> bool:
    """Whether anyone on the internet may reach it, by no detour through IPv4 inside IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not _in(address, _V4)
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return address.is_global and not _in(address, _V6)


def _in(address: Address, networks: Iterable[Any]) -> bool:
    return any(address in network for network in networks)


@dataclass(frozen=True)
class Policy:
    """Where a fetch may go. resolve: name -> addresses; allows: whether to connect to one; ports: None for any."""

    resolve: Resolve = resolved
    allows: Callable[[Address], bool] = is_public
    ports: frozenset[int] | None = PORTS


PUBLIC = Policy()


async def fetched(url: str, settings: Settings, policy: Policy = PUBLIC) -> bytes:
    """The content behind an http or https address, at most `settings.media.bytes` in `settings.url_seconds`.

    No cookies, credentials or proxies of the environment take part.

    Raises `Refused`: 400 when fetching is off, for what is no public address (at any step of a redirect), and for
    what fails or takes too long; 413 for what is too large, and for too much of all fetches of one request.
    """
    if not settings.allow_urls:
        raise Refused(
            400,
            f"got the address {url[:60]!r}; this server fetches nothing: send the bytes as a data URI "
            "(data:image/png;base64,…). Whoever runs it may turn fetching on: sensorium serve … --allow-urls",
        )
    try:
        async with asyncio.timeout(settings.url_seconds):
            return await _followed(url, settings.media.bytes, policy)
    except TimeoutError as error:
        raise Refused(
            400, f"{_shown(url)}: did not arrive within {settings.url_seconds:g} seconds"
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
        # What exactly failed is kept to ourselves: the difference between refused and silent maps a network.
        raise Refused(400, f"{_shown(url)}: cannot be fetched") from error


async def _followed(url: str, most: int, policy: Policy) -> bytes:
    address = _parsed(url, policy)
    pool = httpcore.AsyncConnectionPool(
        ssl_context=_trust(), network_backend=_Judging(policy), max_connections=1, retries=0
    )
    async with pool:
        for _ in range(REDIRECTS + 1):
            async with pool.stream("GET", _target(address), headers=_headers(address)) as response:
                if response.status not in _MOVED:
                    return await _read(address, response, most)
                target = _header(response, b"location")
            if not target:
                raise Refused(400, f"{_shown(str(address))}: redirects to nowhere")
            moved = _parsed(str(_joined(address, target)), policy)
            if address.scheme == "https" and moved.scheme == "http":
                raise Refused(400, f"{_shown(str(address))}: redirects from https to http")
            address = moved
    raise Refused(400, f"{_shown(url)}: redirects more than {REDIRECTS} times")


async def _read(address: httpx.URL, response: httpcore.Response, most: int) -> bytes:
    if response.status != 200:
        raise Refused(400, f"{_shown(str(address))}: answered with status {response.status}")
    if (coding := _header(response, b"content-encoding").lower()) not in ("", "identity"):
        raise Refused(
            400, f"{_shown(str(address))}: came compressed as {coding[:20]!r} although nobody asked"
        )
    stated = _header(response, b"content-length")
    if stated.isdigit() and int(stated[:20]) > most:
        raise Refused(413, f"{_shown(str(address))}: {int(stated[:20]):,} bytes; at most {most:,} are taken")
    parts, size = [], 0
    granted = allowance.get()
    stream: AsyncIterator[bytes] = response.aiter_stream()
    async for part in stream:
        size += len(part)
        if granted is not None:
            granted.take(len(part))
        if size > most:
            raise Refused(
                413, f"{_shown(str(address))}: more than {most:,} bytes, which is all that is taken"
            )
        parts.append(part)
    return b"".join(parts)


def _parsed(url: str, policy: Policy) -> httpx.URL:
    if len(url) > LONGEST:
        raise Refused(400, f"got an address of {len(url):,} characters; expected at most {LONGEST:,}")
    try:
        address = httpx.URL(url)
        host = address.raw_host
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: of names that IDNA cannot write
        raise Refused(400, f"{_shown(url)}: is no address ({error})") from error
    if address.scheme not in ("http", "https") or not host:
        raise Refused(400, f"{_shown(url)}: expected an address that begins with https:// or http://")
    if address.userinfo:
        raise Refused(400, "got an address with a name or password in it; expected one without")
    if not 0 < _port(address) < 2**16 or (policy.ports is not None and _port(address) not in policy.ports):
        raise Refused(400, f"{_shown(url)}: port {_port(address)}; expected 80 or 443")
    return address


def _joined(address: httpx.URL, target: str) -> httpx.URL:
    try:
        return address.join(target)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(400, f"{_shown(str(address))}: redirects to what is no address") from error


def _port(address: httpx.URL) -> int:
    return address.port or {"http": 80, "https": 443}[address.scheme]


def _target(address: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=address.raw_scheme, host=address.raw_host, port=address.port, target=address.raw_path
    )


def _headers(address: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", address.netloc),
        (b"user-agent", b"sensorium"),
        (b"accept", b"image/*, audio/*, video/*, application/octet-stream;q=0.5"),
        (b"accept-encoding", b"identity"),  # so that no few bytes unpack to many
    ]


def _header(response: httpcore.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


def _shown(url: str) -> str:
    return repr(url if len(url) <= 80 else url[:77] + "…")


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())


class _Judging(httpcore.AsyncNetworkBackend):
    """Connections to addresses that the policy allows; each name is asked for once, here."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.connections = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = [ipaddress.ip_address(found) for found in await self.policy.resolve(host, port)]
        except (OSError, ValueError) as error:  # ValueError: of names longer than names may be
            raise _no_public(host) from error
        # One that is refused spoils all of them: an honest name does not point inside as well as outside.
        if not addresses or not all(self.policy.allows(address) for address in addresses):
            raise _no_public(host)
        for address in addresses[:-1]:  # the machine may lack a way to the first, an IPv6 one most of all
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._connected(address, port, timeout, local_address, socket_options)
        return await self._connected(addresses[-1], port, timeout, local_address, socket_options)

    async def _connected(self, address: Address, port: int, *how: Any) -> httpcore.AsyncNetworkStream:
        return await self.connections.connect_tcp(str(address), port, *how)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise Refused(400, "sockets of this machine are not fetched from")

    async def sleep(self, seconds: float) -> None:
        await self.connections.sleep(seconds)


def _no_public(host: str) -> Refused:
    """Said alike of names that there are not, so that the names of an inner network cannot be tried out."""
    return Refused(400, f"{host[:60]!r}: goes by no public address; media are fetched from these alone")
