"""Streams and datagrams that nobody expects, and streams that nobody reads."""

import asyncio
import json

from aioquic.buffer import encode_uint_var

from .peer import BYE, SLOW, UNEXPECTED_STREAM, http, peer, ration, stop_granting


async def unexpected_streams_are_refused(at):
    async with peer(at.port) as each:
        await each.greet()
        for unidirectional in (True, False, True, False):
            stream = each.open_stream(unidirectional)
            each.send(stream, b"\0\0\0\x01\xc0")
            await each.until("STOP_SENDING", lambda: stream in each.stops)
            assert each.stops[stream] == UNEXPECTED_STREAM, each.stops
        await each.alive()


async def streams_of_an_unknown_type(at):
    """HTTP/3 wants them ignored; a second session on the connection does not harm the first."""
    async with peer(at.port) as each:
        await each.greet()
        stream = each._quic.get_next_available_stream_id(is_unidirectional=True)
        each.send(stream, encode_uint_var(0x21 + 0x1F * 7) + b"grease")
        each.connect()
        await each.alive()
    async with peer(at.port) as each:
        await each.greet()
        # A stream of a session that is not there.
        stream = each._quic.get_next_available_stream_id(is_unidirectional=True)
        each.send(stream, encode_uint_var(0x54) + encode_uint_var(4000) + b"nobody's")
        await asyncio.sleep(0.2)
        if not each.terminated:
            await each.alive()


async def streams_opened_and_never_written(at):
    async with peer(at.port) as each:
        await each.greet()
        # Whatever is beyond the limit of the gateway waits here, as it does in a browser.
        for _ in range(200):
            stream = each.open_stream(unidirectional=True)
            each.send(stream, b"")
        for _ in range(50):
            each.open_stream()
        each.transmit()
        await each.alive()


async def a_flood_of_datagrams(at):
    async with peer(at.port) as each:
        await each.greet()
        for round in range(200):
            for _ in range(100):
                each._quic.send_datagram_frame(encode_uint_var(each.session // 4) + b"\xaa" * 200)
            each.transmit()
            await asyncio.sleep(0.005)
        await each.alive()


async def datagrams_of_no_session(at):
    async with peer(at.port) as each:
        await each.greet()
        for data in (b"", encode_uint_var(1000) + b"x", b"\xff"):
            each._quic.send_datagram_frame(data)
        each.transmit()
        await asyncio.sleep(0.2)
        if not each.terminated:
            await each.alive()


async def a_stream_that_the_peer_stops(at):
    async with peer(at.port) as each:
        await each.greet()
        for number in range(5):
            await each.subscribe(number, at.stream)
            each._quic.stop_stream(await each.header(number), 0)
        each.transmit()
        await each.alive()
        assert (await each.subscribe(9, at.ended))["type"] == "subscribed"
        await each.ended(9)


async def a_flood_of_pings_whose_answers_nobody_takes(at):
    async with peer(at.port) as each:
        await each.greet()
        # Answers stay at the gateway from now on, which must then stop reading.
        stop_granting(each._quic)
        for _ in range(100):
            each.say(*({"type": "ping", "t": "x" * 1000} for _ in range(100)))
            await asyncio.sleep(0.02)


async def a_peer_that_never_grants_window(at):
    """It subscribes to everything that it may, and lets nothing come."""
    async with peer(at.port, lambda quic: ration(quic, data=3000, stream_data=600)) as each:
        assert await each.open() == 200
        each.open_control()
        each.say({"type": "hello", "version": 1})
        each.say(*({"type": "subscribe", "subscription": number, "stream": at.large} for number in range(64)))
        await asyncio.sleep(at.stalled_s + 4)
        assert each.bytes <= 3000, each.bytes


async def a_subscription_that_is_not_read(at):
    """It is reset where BYE cannot be said; the session goes on."""
    async with peer(at.port, lambda quic: ration(quic, stream_data=2000)) as each:
        await each.greet()
        await each.subscribe(1, at.large)
        stream = await each.header(1)
        await each.until("the reset", lambda: stream in each.resets, at.stalled_s + 8)
        assert each.resets[stream] == SLOW, each.resets
        await each.alive()


async def a_peer_that_allows_no_streams(at):
    """One of the server's own is HTTP/3's."""
    async with peer(at.port, lambda quic: ration(quic, uni_streams=1)) as each:
        await each.greet()
        each.say({"type": "subscribe", "subscription": 1, "stream": at.stream})
        error = await each.hear("error", about=1)
        assert error["code"] == "too_many_subscriptions", error
        await each.alive()


async def a_viewer_that_acknowledges_nothing(at):
    """What is beyond the last `ack` is bounded, whatever was said first."""
    async with peer(at.port) as each:
        welcome = await each.greet()
        start = json.loads(await http(at.http, "POST", "/v1/streams", json.dumps(at.hesitant)))
        each.say({"type": "subscribe", "subscription": 1, "stream": start["id"]})
        each.say({"type": "ack", "subscription": 1, "seq": 0})
        records = await each.ended(1, at.stalled_s + 10)
        assert records[-1][0] == BYE and records[-1][1]["code"] == "slow", records[-1]
        # And the batch that crosses the line, its last frame included.
        assert each.bytes <= welcome["ack_bytes"] + (96 << 10) + 1000, each.bytes
        await each.alive()


async def acks_that_are_nonsense(at):
    """Backwards, far ahead, of what has ended, a thousand times."""
    async with peer(at.port) as each:
        await each.greet()
        await each.subscribe(1, at.stream)
        await each.header(1)
        for seq in (2**53 - 1, 0, 5, 3, 2**40) * 200:
            each.say({"type": "ack", "subscription": 1, "seq": seq})
        await each.alive()
        await each.subscribe(2, at.ended)
        await each.ended(2)
        each.say({"type": "ack", "subscription": 2, "seq": 1})
        await each.alive()
