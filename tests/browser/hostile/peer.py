"""One QUIC connection to the gateway, on which anything can be said: an HTTP/3 client by aioquic, without manners."""

import asyncio
import contextlib
import ssl
import struct
import time

import msgpack
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset

WAIT_S = 15
HEADER, FRAME, HEARTBEAT, ERROR, BYE, END = range(6)
# How WebTransport maps application codes of streams, and how to get one back.
CODE_BASE = 0x52E4A40FA8DB
SLOW, UNEXPECTED_STREAM = 3, 4


def code(on_the_wire):
    shifted = on_the_wire - CODE_BASE
    return shifted - shifted // 0x1F if shifted >= 0 else f"unmapped {on_the_wire:#x}"


def framed(value):
    body = value if isinstance(value, bytes) else msgpack.packb(value)
    return struct.pack(">I", len(body)) + body


class Splitter:
    def __init__(self):
        self.rest = b""

    def push(self, data):
        self.rest += data
        while len(self.rest) >= 4:
            (length,) = struct.unpack(">I", self.rest[:4])
            if len(self.rest) < 4 + length:
                return
            yield msgpack.unpackb(self.rest[4 : 4 + length], strict_map_key=False, timestamp=0)
            self.rest = self.rest[4 + length :]


class Peer(QuicConnectionProtocol):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.h3 = H3Connection(self._quic, enable_webtransport=True)
        self.authority = None
        self.status = {}
        self.session = None
        self.control = None
        # Bidirectional streams that we have opened.
        self.own = set()
        self.messages = []
        # By stream of the server: its records, and whether it was finished.
        self.records = {}
        self.finished = set()
        self.resets = {}
        self.stops = {}
        self.terminated = None
        self.bytes = 0
        self._splitters = {}
        self._news = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated = (event.error_code, event.reason_phrase)
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = code(event.error_code)
        elif isinstance(event, StopSendingReceived):
            self.stops[event.stream_id] = code(event.error_code)
        elif isinstance(event, StreamDataReceived) and event.stream_id in self.own:
            # aioquic knows bidirectional streams of WebTransport only where the other side has opened them.
            self._take(event.stream_id, event.data, event.end_stream)
            return self._news.set()
        for each in self.h3.handle_event(event):
            if isinstance(each, HeadersReceived):
                self.status[each.stream_id] = int(dict(each.headers)[b":status"])
            elif isinstance(each, WebTransportStreamDataReceived):
                self._take(each.stream_id, each.data, each.stream_ended)
        self._news.set()

    def _take(self, stream, data, ended):
        self.bytes += len(data)
        into = self.messages if stream == self.control else self.records.setdefault(stream, [])
        into.extend(self._splitters.setdefault(stream, Splitter()).push(data))
        if ended:
            self.finished.add(stream)

    async def until(self, what, test, wait_s=WAIT_S):
        """The first true value of `test`, which must come in time."""
        late = time.monotonic() + wait_s
        while not (value := test()):
            self._news.clear()
            left = late - time.monotonic()
            assert left > 0 and not self.terminated, f"{what}: not within {wait_s} s; {self.facts()}"
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)
        return value

    def facts(self):
        records = {stream: len(records) for stream, records in self.records.items()}
        return dict(
            status=self.status, messages=self.messages[-3:], records=records, finished=sorted(self.finished),
            resets=self.resets, stops=self.stops, terminated=self.terminated,
        )

    connect_to = QuicConnectionProtocol.connect

    def connect(self, path="/v1/session", headers=()):
        """Sends CONNECT; `headers` replace or, by None, remove what it has."""
        fields = {
            ":method": "CONNECT", ":scheme": "https", ":authority": self.authority, ":path": path,
            ":protocol": "webtransport", "sec-webtransport-http3-draft02": "1", **dict(headers),
        }
        stream = self._quic.get_next_available_stream_id()
        pairs = [(name.encode(), value.encode()) for name, value in fields.items() if value is not None]
        self.h3.send_headers(stream, pairs)
        self.transmit()
        return stream

    async def open(self, path="/v1/session", headers=()):
        """A session; its status, which is 200 where it stands."""
        self.session = self.connect(path, headers)
        await self.until("an answer to CONNECT", lambda: self.session in self.status or self.over(self.session))
        return self.status.get(self.session)

    async def greet(self):
        assert await self.open() == 200
        self.open_control()
        self.say({"type": "hello", "version": 1})
        return await self.hear("welcome")

    def open_control(self):
        self.control = self.open_stream()

    def open_stream(self, unidirectional=False):
        stream = self.h3.create_webtransport_stream(self.session, is_unidirectional=unidirectional)
        if not unidirectional:
            self.own.add(stream)
        return stream

    def say(self, *messages):
        self.raw(b"".join(map(framed, messages)))

    def raw(self, data, end=False):
        self.send(self.control, data, end)

    def send(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    async def hear(self, *types, about=None):
        """The first message of these types, which is then forgotten, as all before it are."""

        def find():
            for at, message in enumerate(self.messages):
                if message["type"] in types and (about is None or message.get("subscription") == about):
                    del self.messages[: at + 1]
                    return message

        return await self.until(f"{types}", find)

    async def subscribe(self, subscription, stream, **options):
        self.say({"type": "subscribe", "subscription": subscription, "stream": stream, **options})
        return await self.hear("subscribed", "error", about=subscription)

    def stream_of(self, subscription):
        """The stream of the server whose HEADER names it."""
        for stream, records in self.records.items():
            if records and records[0][0] == HEADER and records[0][1]["subscription"] == subscription:
                return stream

    async def header(self, subscription):
        return await self.until(f"HEADER of {subscription}", lambda: self.stream_of(subscription))

    def over(self, stream):
        return stream in self.resets or self.terminated is not None

    async def ended(self, subscription, wait_s=WAIT_S):
        """The records of a stream that was finished."""
        stream = await self.header(subscription)
        await self.until(f"FIN of {subscription}", lambda: stream in self.finished, wait_s)
        return self.records[stream]

    async def lost(self, wait_s=WAIT_S):
        await self.until("the end of the connection", lambda: self.terminated, wait_s)
        return self.terminated

    async def alive(self):
        """The session answers."""
        mark = f"{time.monotonic()}"
        self.say({"type": "ping", "t": mark})
        while (await self.hear("pong"))["t"] != mark:
            pass


def ration(quic, data=None, stream_data=None, uni_streams=None):
    """Grants so much once, and never more."""
    if data is not None:
        quic._local_max_data.value = quic._local_max_data.sent = data
    if stream_data is not None:
        quic._local_max_stream_data_bidi_local = quic._local_max_stream_data_uni = stream_data
    if uni_streams is not None:
        quic._local_max_streams_uni.value = quic._local_max_streams_uni.sent = uni_streams
    stop_granting(quic)


def stop_granting(quic):
    quic._write_connection_limits = lambda **_: None
    quic._write_stream_limits = lambda **_: None


@contextlib.asynccontextmanager
async def peer(port, configure=lambda quic: None, vanish=False):
    """A connection, whose window `configure` may ration; with `vanish` it is left without a word."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, max_datagram_frame_size=65536,
        server_name="localhost", idle_timeout=60,
    )
    quic = QuicConnection(configuration=configuration)
    configure(quic)
    loop = asyncio.get_running_loop()
    transport, each = await loop.create_datagram_endpoint(lambda: Peer(quic), local_addr=("127.0.0.1", 0))
    each.authority = f"127.0.0.1:{port}"
    each.connect_to(("127.0.0.1", port))
    try:
        await asyncio.wait_for(each.wait_connected(), WAIT_S)
        yield each
    finally:
        if not vanish:
            each.close()
            await each.wait_closed()
        transport.close()


async def http(port, method, path, body=None):
    """One call of the gateway's HTTP, as text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = (body or "").encode()
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n".encode() + data
    )
    answer = (await reader.read()).decode()
    writer.close()
    return answer.split("\r\n\r\n", 1)[1]
