"""Handshakes that are half, wrong, or for something else."""

import asyncio
import random
import socket
import ssl
import time

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from .peer import END, ERROR, HEADER, peer

# The gateway's own deadline is 5 s.
DEADLINE_S = 8


async def initial_packets_and_silence(at):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost",
    )
    sockets = []
    for round in range(400):
        quic = QuicConnection(configuration=configuration)
        quic.connect(("127.0.0.1", at.port), time.monotonic())
        if round % 20 == 0:
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for data, _ in quic.datagrams_to_send(time.monotonic()):
            sockets[-1].sendto(data, ("127.0.0.1", at.port))
        if round % 20 == 19:
            await asyncio.sleep(0.01)
    async with peer(at.port) as each:
        await each.greet()
        await each.alive()
    for each in sockets:
        each.close()


async def garbage_datagrams(at):
    chance = random.Random(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(5000):
            first = chance.choice([0x40, 0xC0, 0xE0, 0xF0, chance.randrange(256)])
            data = bytes([first]) + chance.choice([b"\0\0\0\1", b"\x1a\x2a\x3a\x4a", b"\0\0\0\0", b""])
            sender.sendto(data + chance.randbytes(chance.randrange(1400)), ("127.0.0.1", at.port))
    async with peer(at.port) as each:
        await each.greet()


async def quic_without_connect(at):
    began = time.monotonic()
    connections = [peer(at.port) for _ in range(30)]
    entered = await asyncio.gather(*(each.__aenter__() for each in connections))
    await asyncio.gather(*(each.lost(DEADLINE_S) for each in entered))
    assert time.monotonic() - began > 2, "nobody was given time"
    await asyncio.gather(*(each.__aexit__(None, None, None) for each in connections))


async def half_a_connect(at):
    async with peer(at.port) as each:
        stream = each._quic.get_next_available_stream_id()
        each.send(stream, encode_uint_var(1) + encode_uint_var(1000) + b"\0\0")
        await each.lost(DEADLINE_S)


async def who_is_let_in(at):
    port = at.port
    own = f"http://127.0.0.1:{at.http}"
    for headers, path, status in [
        ({}, "/v1/session", 200),
        ({"origin": at.origin}, "/v1/session", 200),
        ({"origin": own}, "/v1/session", 200),
        ({":authority": f"localhost:{port}"}, "/v1/session", 200),
        ({":authority": f"[::1]:{port}"}, "/v1/session", 200),
        ({"origin": "https://evil.example"}, "/v1/session", 403),
        ({"origin": "null"}, "/v1/session", 403),
        ({"origin": at.origin + "0"}, "/v1/session", 403),
        ({"origin": f"https://127.0.0.1:{at.http}.evil.example"}, "/v1/session", 403),
        ({":authority": f"evil.example:{port}"}, "/v1/session", 403),
        ({}, "/", 404),
        ({}, "/v1/session/", 404),
        ({}, "/v1/streams/a/b", 404),
        ({}, "/v1/streams/a/events", 404),
        ({"origin": "https://evil.example"}, "/", 403),
    ]:
        async with peer(port) as each:
            assert await each.open(path, headers) == status, (headers, path, each.facts())


async def no_webtransport(at):
    """Not a session: refused in any way but a session, and quickly."""

    async def one(headers):
        async with peer(at.port) as each:
            stream = each.connect(headers=headers)
            await each.until("a refusal", lambda: each.over(stream) or each.status.get(stream), DEADLINE_S)
            assert each.status.get(stream) != 200, (headers, each.facts())

    await asyncio.gather(*map(one, [
        {":method": "GET", ":protocol": None}, {":protocol": None}, {":protocol": "websocket"}, {":scheme": "http"},
    ]))


async def capsules(at):
    """Unknown ones mean nothing; the one that closes, FIN and a reset end the session."""

    def capsule(kind, body):
        return encode_uint_var(kind) + encode_uint_var(len(body)) + body

    for data, end, survives in [
        (capsule(0x29, b"grease"), False, True),
        (capsule(0x2843, b"\0\0\x10\x92bye"), False, False),
        (b"", True, False),
    ]:
        async with peer(at.port) as each:
            await each.greet()
            each.h3.send_data(each.session, data, end)
            each.transmit()
            if survives:
                await each.alive()
            else:
                await each.lost()
    async with peer(at.port) as each:
        await each.greet()
        each._quic.reset_stream(each.session, 0x10C)
        each.transmit()
        await each.lost()


async def credentials_in_headers(at):
    path = f"/v1/streams/{at.ended}"
    for headers, first in [
        ({}, HEADER),
        ({"authorization": f"Bearer {at.ticket}"}, HEADER),
        ({"authorization": f"Bearer {at.forged}"}, HEADER),
        ({"tokencast-key": at.ticket}, HEADER),
    ]:
        async with peer(at.port) as each:
            assert await each.open(path, headers) == 200
            records = await each.until("the stream", lambda: each.finished and next(iter(each.records.values())))
            assert records[0][0] == first, (headers, records[0])
            assert records[-1][0] in (END, ERROR)
    async with peer(at.port) as each:
        assert await each.open(f"{path}?ticket={at.forged}") == 200
        records = await each.until("the stream", lambda: each.finished and next(iter(each.records.values())))
        assert [records[0][0], records[0][1]["code"]] == [ERROR, "invalid_ticket"], records


async def more_sessions_than_there_may_be(at):
    """The next one is told 429; once there is room again, it is let in."""
    connections = []
    statuses = []
    for _ in range(at.room + 1):
        connections.append(peer(at.port))
        each = await connections[-1].__aenter__()
        statuses.append(await each.open())
        if statuses[-1] == 200:
            each.open_control()
            each.say({"type": "hello", "version": 1})
    assert statuses == [200] * at.room + [429], statuses
    await asyncio.gather(*(each.__aexit__(None, None, None) for each in connections))
    late = time.monotonic() + DEADLINE_S
    while True:
        async with peer(at.port) as each:
            if await each.open() == 200:
                break
        assert time.monotonic() < late, "no room is made"


async def peers_that_vanish(at):
    connections = [peer(at.port, vanish=True) for _ in range(20)]
    for each in await asyncio.gather(*(each.__aenter__() for each in connections)):
        await each.greet()
        await each.subscribe(1, at.stream)
    await asyncio.gather(*(each.__aexit__(None, None, None) for each in connections))
