"""Fetching: what is public, and servers that redirect, rebind, swell, trickle and lie."""

import asyncio
import contextlib
import ipaddress
from dataclasses import replace

import pytest

from sensorium.media import Limits
from sensorium.serving.body import BodyLimit
from sensorium.serving.refused import Refused
from sensorium.serving.settings import Settings
from sensorium.serving.urls import Policy, fetched, is_public

OPEN = Settings(allow_urls=True, url_seconds=5.0, media=Limits(bytes=10_000))


@contextlib.asynccontextmanager
async def serving(answers, host="127.0.0.1"):
    """A server on loopback; answers: path -> bytes of a whole HTTP response, or a coroutine that writes one."""
    asked = []

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            asked.append(head)
            found = answers.get(head.split(" ")[1], b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            if isinstance(found, bytes):
                writer.write(found)
            else:
                await found(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def policy(*public: str, names=None) -> Policy:
    """Loopback as if it were public, where `public` says so, and names that resolve as `names` says, in turn."""
    turns = {name: iter(addresses) for name, addresses in (names or {}).items()}

    async def resolve(host, port):
        return [next(turns[host])] if host in turns else [host]

    return Policy(resolve, lambda address: str(address) in public or is_public(address), ports=None)


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(target: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode()


def run(url, answers, chosen=None, settings=OPEN):
    """(content or Refused, what the server was asked)"""

    async def main():
        async with serving(answers) as (port, asked):
            try:
                found = await fetched(
                    url.format(port=port),
                    settings,
                    chosen or policy("127.0.0.1", names={"media.test": ["127.0.0.1"]}),
                )
            except Refused as refused:
                found = refused
            return found, asked

    return asyncio.run(main())


PRIVATE = {
    "this machine": "127.0.0.1 127.8.8.8 0.0.0.0 ::1 ::",
    "neighbours": "10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 fc00::1 fd00:ec2::254 fec0::1",
    "the same link": "169.254.169.254 fe80::1 fe80::1%eth0 2606:4700::1111%1",
    "services of clouds": "100.100.100.200 168.63.129.16",
    "groups": "224.0.0.1 239.255.255.250 255.255.255.255 ff02::1",
    "reserved": "192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 203.0.113.5 240.0.0.1 2001:db8::1 3fff::1 100::1 5f00::1",
    "IPv4 in IPv6": "::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 2002:7f00:1:: 2001:0:1::1 2001:20::1",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1",
}


@pytest.mark.parametrize("kind", PRIVATE)
def test_addresses_that_are_not_public(kind):
    for address in PRIVATE[kind].split():
        assert not is_public(ipaddress.ip_address(address)), address


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "2606:4700:4700::1111"])
def test_addresses_that_are_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_fetching_is_off_and_says_how_to_turn_it_on():
    found, asked = run("http://media.test:{port}/a", {"/a": ok(b"abc")}, settings=Settings())
    assert found.status == 400
    assert "--allow-urls" in str(found)
    assert "data:" in str(found)
    assert asked == []


def test_content_comes_with_the_name_in_the_host_header_and_nothing_of_ours():
    found, asked = run("http://media.test:{port}/a?b=%20c#d", {"/a?b=%20c": ok(b"abc")})
    assert found == b"abc"
    head = asked[0].lower()
    assert "host: media.test:" in head
    assert "accept-encoding: identity" in head
    assert "cookie" not in head
    assert "authorization" not in head


def test_the_environments_proxies_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert run("http://media.test:{port}/a", {"/a": ok(b"abc")})[0] == b"abc"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://media.test/a",
        "gopher://127.0.0.1:6379/_x",
        "http:///etc/passwd",
        "//media.test/a",
        "/etc/passwd",
        "etc/passwd",
        "",
        "http://user:word@media.test:{port}/a",
        "http://user@media.test:{port}/a",
        "http://media.test:{port}/" + 3000 * "a",
        "http://media.test:99999999/",
        "http://[::1/a",
        "http://a\r\nb/",
        "http://media.test:{port}/\r\nx: y",
        "http://\u2603.invalid\u0000/",
        "http://" + 300 * "a" + ".test/",
    ],
)
def test_what_is_no_address_of_the_web_is_refused_unasked(url):
    found, asked = run(url, {"/a": ok(b"abc")})
    assert found.status == 400
    assert asked == []


def test_only_the_ports_of_the_web_unless_the_policy_says_otherwise():
    for port in (22, 6379, 8080):
        with pytest.raises(Refused, match=f"port {port}"):
            asyncio.run(fetched(f"http://1.1.1.1:{port}/", OPEN))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_ways_to_write_loopback_are_refused_by_the_machines_own_resolver(host):
    async def main():
        async with serving({"/": ok(b"secret")}) as (port, asked):
            with pytest.raises(Refused, match="no public address") as caught:
                await fetched(f"http://{host}:{port}/", OPEN, Policy(ports=None))
            return caught.value.status, asked

    assert asyncio.run(main()) == (400, [])


def test_a_redirect_to_a_private_address_is_refused():
    answers = {"/secret": ok(b"secret")}

    async def main():
        async with serving(answers, "0.0.0.0") as (port, asked):
            answers["/a"] = moved(
                f"http://127.0.0.2:{port}/secret"
            )  # the same server, by an address not allowed
            with pytest.raises(Refused, match="no public address"):
                await fetched(f"http://127.0.0.1:{port}/a", OPEN, policy("127.0.0.1"))
            first = len(asked)
            # … which does answer where it is allowed
            assert (
                await fetched(f"http://127.0.0.1:{port}/a", OPEN, policy("127.0.0.1", "127.0.0.2"))
                == b"secret"
            )
            return first, len(asked)

    assert asyncio.run(main()) == (1, 3)


def test_redirects_to_other_schemes_are_refused():
    for target in ("file:///etc/passwd", "ftp://media.test/", "http://u:p@media.test/", "http://[bad"):
        found, asked = run("http://127.0.0.1:{port}/a", {"/a": moved(target)})
        assert found.status == 400
        assert len(asked) == 1


def test_a_name_is_asked_for_once_and_that_answer_is_connected_to():
    """DNS rebinding: allowed at first, private when asked again."""
    changing = {"media.test": ["127.0.0.1", "127.0.0.2", "127.0.0.2"]}
    found, _ = run("http://media.test:{port}/a", {"/a": ok(b"abc")}, policy("127.0.0.1", names=changing))
    assert found == b"abc"
    # a redirect to the same name over a new connection asks again, and the new answer is judged
    closing = moved("http://media.test:{}/b").replace(
        b"content-length", b"connection: close\r\ncontent-length"
    )

    async def main():
        answers = {"/b": ok(b"secret")}
        async with serving(answers) as (port, asked):
            answers["/a"] = closing.replace(b"{}", str(port).encode())
            chosen = policy("127.0.0.1", names={"media.test": ["127.0.0.1", "127.0.0.2"]})
            with pytest.raises(Refused, match="no public address"):
                await fetched(f"http://media.test:{port}/a", OPEN, chosen)
            return len(asked)

    assert asyncio.run(main()) == 1


def test_a_name_of_which_one_address_is_private_is_refused():
    async def both(host, port):
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(Refused, match="no public address"):
        asyncio.run(fetched("http://media.test/", OPEN, Policy(both)))


def test_three_redirects_are_followed_and_not_a_fourth():
    chain = {f"/{n}": moved(f"/{n + 1}", status) for n, status in enumerate((301, 302, 303, 307, 308))}
    found, asked = run("http://127.0.0.1:{port}/2", chain | {"/5": ok(b"end")})
    assert found == b"end"
    assert len(asked) == 4
    found, asked = run("http://127.0.0.1:{port}/1", chain | {"/5": ok(b"end")})
    assert found.status == 400
    assert "more than 3 times" in str(found)
    assert len(asked) == 4


def test_too_large_is_refused_by_its_header_and_cut_off_without_one():
    found, _ = run("http://127.0.0.1:{port}/a", {"/a": ok(bytes(10_001))})
    assert found.status == 413
    assert "10,001" in str(found)
    sent = []

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        for _ in range(5000):
            writer.write(bytes(4000))
            await writer.drain()
            sent.append(4000)

    found, _ = run("http://127.0.0.1:{port}/a", {"/a": endless})
    assert found.status == 413
    assert "more than 10,000" in str(found)
    assert sum(sent) < 20_000_000  # cut off, what the sockets held included
    assert run("http://127.0.0.1:{port}/a", {"/a": ok(bytes(10_000))})[0] == bytes(10_000)


def test_slow_answers_are_cut_off():
    async def trickle(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def silent(writer):
        await asyncio.sleep(30)

    quick = replace(OPEN, url_seconds=0.3)
    for slow in (trickle, silent):
        found, _ = run("http://127.0.0.1:{port}/a", {"/a": slow}, settings=quick)
        assert found.status == 400
        assert "within 0.3 seconds" in str(found)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 206 Part\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 302 Moved\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + 200_000 * b"a" + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_answers_that_are_no_media_are_refused(answer):
    found, _ = run("http://127.0.0.1:{port}/a", {"/a": answer})
    assert isinstance(found, Refused)
    assert found.status == 400


def test_a_server_that_is_not_there_is_refused_without_saying_why():
    with pytest.raises(Refused, match=r"cannot be fetched$"):
        asyncio.run(fetched("http://127.0.0.1:1/a", OPEN, policy("127.0.0.1")))


def test_the_next_address_is_tried_where_the_first_does_not_answer():
    async def main():
        async with serving({"/a": ok(b"abc")}) as (port, _):

            async def two(host, port):
                return ["127.0.0.2", "127.0.0.1"]  # nothing listens on the first

            return await fetched(f"http://media.test:{port}/a", OPEN, Policy(two, lambda _: True, ports=None))

    assert asyncio.run(main()) == b"abc"


def test_what_one_request_has_fetched_is_limited_together():
    async def main():
        async with serving({"/a": ok(bytes(900))}) as (port, _):
            found = []

            async def app(scope, receive, send):
                await receive()
                for _ in range(5):
                    found.append(len(await fetched(f"http://127.0.0.1:{port}/a", OPEN, policy("127.0.0.1"))))

            async def receive():
                return {"type": "http.request", "body": b""}

            with pytest.raises(Refused, match="at most 2,000 bytes") as caught:
                await BodyLimit(app, 2000)({"type": "http", "headers": []}, receive, None)
            return found, caught.value.status

    assert asyncio.run(main()) == ([900, 900], 413)
