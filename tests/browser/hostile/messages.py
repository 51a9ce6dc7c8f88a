"""Control messages that are wrong, and some that only look so."""

import asyncio
import json
import random

import msgpack

from .peer import BYE, END, FRAME, framed, http, peer


async def fatal(at, code, provoke, greeted=True):
    """One session that is told why it ends, and ends."""
    async with peer(at.port) as each:
        if greeted:
            await each.greet()
        else:
            assert await each.open() == 200
            each.open_control()
        provoke(each)
        error = await each.hear("error")
        assert error["code"] == code, (code, error)
        bye = await each.hear("bye")
        assert isinstance(bye["retry_ms"], int), bye
        await each.lost()


def padded(size):
    """A ping of so many bytes."""
    bare = len(msgpack.packb({"type": "ping", "t": "-" * 1000})) - 1000
    return msgpack.packb({"type": "ping", "t": "-" * (size - bare)})


async def what_ends_a_session(at):
    nested = b"\x91" * 16_000 + b"\xc0"
    typed = b"\x82\xa4type\xa4ping\xa1t"
    cases = [
        ("unsupported_version", lambda p: p.say({"type": "hello", "version": 0}), False),
        ("unsupported_version", lambda p: p.say({"type": "hello", "version": 4294967295}), False),
        ("invalid_message", lambda p: p.say({"type": "hello"}), False),
        ("invalid_message", lambda p: p.say({"type": "hello", "version": "1"}), False),
        ("hello_expected", lambda p: p.say({"type": "subscribe", "subscription": 1, "stream": "x"}), False),
        ("hello_expected", lambda p: p.raw(b"\0\0\0"), False),
        ("message_too_large", lambda p: p.raw(b"\xff\xff\xff\xff"), True),
        ("message_too_large", lambda p: p.raw(framed(padded(16 * 1024 + 1))), True),
        ("message_too_large", lambda p: p.raw(b"\0\0\0\0"), True),
        ("invalid_message", lambda p: p.raw(framed(nested)), True),
        ("invalid_message", lambda p: p.raw(framed(typed + nested)), True),
        ("invalid_message", lambda p: p.raw(framed(b"\xdd\xff\xff\xff\xff")), True),
        ("invalid_message", lambda p: p.raw(framed(b"\xdf\xff\xff\xff\xff")), True),
        ("invalid_message", lambda p: p.raw(framed(b"\xc6\xff\xff\xff\xff")), True),
        ("invalid_message", lambda p: p.raw(framed(b"\xc1")), True),
        ("invalid_message", lambda p: p.raw(framed(msgpack.packb({"type": "ping", "t": 1}) + b"\0")), True),
        ("invalid_message", lambda p: p.raw(framed(msgpack.packb({"type": "ping", "t": 1})[:-1])), True),
        ("invalid_message", lambda p: p.say({"type": 7}), True),
        ("invalid_message", lambda p: p.say({1: 2}), True),
        ("invalid_message", lambda p: p.say("ping"), True),
        ("invalid_message", lambda p: p.say(None), True),
        ("invalid_message", lambda p: p.say({"type": "subscribe", "subscription": -1, "stream": "x"}), True),
        ("invalid_message", lambda p: p.say({"type": "subscribe", "subscription": 1.5, "stream": "x"}), True),
        ("invalid_message", lambda p: p.say({"type": "subscribe", "subscription": 1, "stream": 1}), True),
        ("invalid_message", lambda p: p.say({"type": "ack", "subscription": 1}), True),
        ("invalid_message", lambda p: p.say({"type": "ack", "subscription": 1, "seq": "all"}), True),
    ]
    await asyncio.gather(*(fatal(at, *case) for case in cases))


async def silence_ends_a_session(at):
    async with peer(at.port) as each:
        assert await each.open() == 200
        # Without a control stream there is nowhere to say why.
        await each.lost(8)


async def a_truncated_message_ends_a_session(at):
    """Nothing can follow it, however the client leaves it."""
    half = b"\0\0\0\x64" + b"\x82\xa4type"
    async with peer(at.port) as each:
        await each.greet()
        each.raw(half, end=True)
        assert (await each.hear("error"))["code"] == "invalid_message"
        await each.hear("bye")
        await each.lost()
    async with peer(at.port) as each:
        await each.greet()
        each.raw(half)
        await asyncio.sleep(0.1)
        each._quic.reset_stream(each.control, 0)
        each.transmit()
        await each.lost()


async def what_a_session_survives(at):
    async with peer(at.port) as each:
        await each.greet()
        for message, code in [
            ({"type": "sing"}, "unknown_message"),
            ({"type": ""}, "unknown_message"),
            ({"type": "welcome", "version": 1}, "unknown_message"),
            ({"type": "subscribe", "subscription": 1, "stream": "nobody"}, "not_found"),
            ({"type": "subscribe", "subscription": 1, "stream": ""}, "not_found"),
            ({"type": "subscribe", "subscription": 1, "stream": "../a" * 1000}, "not_found"),
            ({"type": "subscribe", "subscription": 1, "stream": at.stream, "after": 2**53}, "invalid_cursor"),
            ({"type": "subscribe", "subscription": 1, "stream": at.stream, "after": 2**53 - 1}, "cursor_ahead"),
            ({"type": "subscribe", "subscription": 1, "stream": at.stream, "from": "x"}, "invalid_cursor"),
            ({"type": "subscribe", "subscription": 1, "stream": at.stream, "heartbeat_ms": 1}, "invalid_parameter"),
            ({"type": "subscribe", "subscription": 2**31, "stream": at.stream}, "invalid_parameter"),
            ({"type": "subscribe", "subscription": 1, "stream": at.stream, "ticket": "a.b.c"}, "invalid_ticket"),
            ({"type": "stop", "subscription": 77}, "unknown_subscription"),
        ]:
            each.say(message)
            error = await each.hear("error", "subscribed")
            assert error.get("code") == code, (message, error)
        each.say({"type": "unsubscribe", "subscription": 77}, {"type": "ack", "subscription": 77, "seq": 2**53})
        await each.alive()


async def a_ping_carries_anything(at):
    """Whatever JSON can say, too."""
    async with peer(at.port) as each:
        await each.greet()
        for value in [
            None, True, 0, -1, 2**64 - 1, -(2**63), 1.5, "", "🙂", [], {}, [[[[1]]]], {"a": [1, None], "b": {"c": 1}},
        ]:
            each.say({"type": "ping", "t": value, "unknown": [1, 2, 3]})
            assert (await each.hear("pong"))["t"] == value, value
        each.raw(framed(padded(16 * 1024)))
        assert len((await each.hear("pong"))["t"]) > 16_000


async def a_burst_of_pings(at):
    """All of them are answered, and the session hears on, however many answers wait at once."""
    async with peer(at.port) as each:
        await each.greet()
        each.say(*({"type": "ping", "t": "x" * 1000} for _ in range(1000)))
        await each.until("a pong for each", lambda: len(each.messages) >= 1000)
        await each.alive()


async def a_byte_at_a_time(at):
    async with peer(at.port) as each:
        await each.greet()
        for byte in framed({"type": "ping", "t": 5}) * 3:
            each.raw(bytes([byte]))
        for _ in range(3):
            assert (await each.hear("pong"))["t"] == 5


async def integers_of_every_width(at):
    """MessagePack may write 7 in nine ways; strings and maps have some, too."""
    name = at.stream.encode()
    for width in [
        b"\x07", b"\xcc\x07", b"\xcd\0\x07", b"\xce\0\0\0\x07", b"\xcf" + b"\0" * 7 + b"\x07", b"\xd0\x07",
        b"\xd1\0\x07", b"\xd2\0\0\0\x07", b"\xd3" + b"\0" * 7 + b"\x07",
    ]:
        async with peer(at.port) as each:
            await each.greet()
            each.raw(framed(
                b"\xdf\0\0\0\x03" + b"\xdb\0\0\0\x04type" + b"\xda\0\x09subscribe" + b"\xacsubscription" + width
                + b"\xd9\x06stream" + b"\xd9" + bytes([len(name)]) + name
            ))
            answer = await each.hear("subscribed", "error")
            assert answer["type"] == "subscribed" and answer["subscription"] == 7, (width, answer)


async def a_number_is_free_once_its_stream_is_finished(at):
    """Whether the client has ended it or the stream has."""
    async with peer(at.port) as each:
        await each.greet()
        for _ in range(20):
            answer = await each.subscribe(7, at.stream)
            assert answer["type"] == "subscribed", answer
            each.say({"type": "unsubscribe", "subscription": 7})
            await each.ended(7)
            each.records.clear()
            answer = await each.subscribe(7, at.ended)
            assert answer["type"] == "subscribed", answer
            await each.ended(7)
            each.records.clear()


async def random_bytes(at):
    chance = random.Random(1)

    async def one():
        async with peer(at.port) as each:
            assert await each.open() == 200
            each.open_control()
            if chance.random() < 0.5:
                each.say({"type": "hello", "version": 1})
            body = chance.randbytes(chance.randrange(1, 3000))
            each.raw(framed(body) if chance.random() < 0.7 else b"\x7f" + body, end=chance.random() < 0.3)
            await each.lost()

    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(20)))


async def subscriptions_come_and_go(at):
    async with peer(at.port) as each:
        await each.greet()
        for round in range(300):
            number = round % 3
            assert (await each.subscribe(number, at.stream))["type"] == "subscribed"
            each.say({"type": "unsubscribe", "subscription": number})
            records = await each.ended(number)
            assert records[-1][0] == 4 and records[-1][1]["code"] == "unsubscribed", records[-1]
            each.records.clear()
        await each.alive()


async def the_end_comes_once(at):
    async with peer(at.port) as each:
        await each.greet()
        numbers = range(20)
        for number in numbers:
            await each.subscribe(number, at.ended)
        for number in numbers:
            records = await each.ended(number)
            assert [kind for kind, *_ in records].count(END) == 1 and records[-1][0] == END


async def a_paced_viewer_reaches_the_end(at):
    """It acknowledges every id as it comes. The last block of the log has none: with ten bytes more each time, what is
    sent with it crosses `ack_bytes` in some of them."""
    async with peer(at.port) as each:
        await each.greet()
        for number, total in enumerate(range(65_200, 66_400, 10)):
            tokens = min(range(40, 60), key=lambda tokens: total % tokens)
            at.plain["request"]["simulate"].update(tokens=tokens, token_bytes=total // tokens)
            stream = json.loads(await http(at.http, "POST", "/v1/streams", json.dumps(at.plain)))["id"]
            while "completed" not in await http(at.http, "GET", f"/v1/streams/{stream}"):
                pass
            each.say({"type": "subscribe", "subscription": number, "stream": stream})
            each.say({"type": "ack", "subscription": number, "seq": 0})
            records = each.records[await each.header(number)]
            acknowledged = 0
            while records[-1][0] not in (END, BYE):
                ids = [id for kind, *values in records if kind == FRAME for id, *_ in values[0] if id is not None]
                if ids and ids[-1] > acknowledged:
                    acknowledged = ids[-1]
                    each.say({"type": "ack", "subscription": number, "seq": acknowledged})
                count = len(records)
                await each.until("another record", lambda: len(records) > count)
            assert records[-1][0] == END, (total, acknowledged, records[-1])
            each.records.clear()
