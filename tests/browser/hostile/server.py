"""A WebTransport server that greets as a gateway does, and then says garbage: which, is the id of the stream asked for.

    python -m hostile.server PORT CHAIN KEY

Prints a line for every session and every subscription."""

import asyncio
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration

from .peer import BYE, CODE_BASE, END, FRAME, HEADER, Splitter, framed

WELCOME = {"type": "welcome", "version": 1, "subscriptions_max": 64, "ack_bytes": 262144, "heartbeat_ms": 15000}
END_OF_TWO = {"reason": "completed", "code": None, "message": None, "finish": None, "usage": None, "blocks": 2}


def text(seq, said, **data):
    return [seq, "text", {"from": seq, "text": said, **data}]


# What stands behind HEADER and the first text.
GARBAGE = {
    "no_messagepack": b"\x00\x00\x00\x02\xc1\xc1",
    "no_array": framed(5),
    "an_empty_array": framed([]),
    "too_much_in_a_record": b"\x00\x00\x00\x02\x01\x01",
    "a_record_that_is_too_large": b"\xff\xff\xff\xff",
    "an_empty_record": b"\x00\x00\x00\x00",
    "a_frame_that_is_none": framed([FRAME, 7]),
    "an_event_that_is_none": framed([FRAME, [7]]),
    "an_id_that_is_none": framed([FRAME, [["two", "text", {"from": 2, "text": "x"}]]]),
    "data_that_is_none": framed([FRAME, [[2, "text", None]]]),
    "text_that_is_none": framed([FRAME, [[2, "text", {"from": 2}]]]),
    "a_gap": framed([FRAME, [text(3, "behind")]]),
    "nested_without_end": framed(b"\x91" * 100_000),
    "an_end_that_is_none": framed([END, None]),
    "a_goodbye_that_is_none": framed([BYE, None]),
}


class Server(QuicConnectionProtocol):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.h3 = H3Connection(self._quic, enable_webtransport=True)
        self.session = None
        self.splitters = {}

    def quic_event_received(self, event):
        for each in self.h3.handle_event(event):
            if isinstance(each, HeadersReceived):
                self.session = each.stream_id
                print("session", flush=True)
                headers = [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
                self.h3.send_headers(each.stream_id, headers)
            elif isinstance(each, WebTransportStreamDataReceived):
                for message in self.splitters.setdefault(each.stream_id, Splitter()).push(each.data):
                    self.answer(each.stream_id, message)
        self.transmit()

    def answer(self, control, message):
        kind = message["type"]
        if kind == "hello":
            self._quic.send_stream_data(control, framed(WELCOME))
        elif kind == "ping":
            self._quic.send_stream_data(control, framed({"type": "pong", "t": message["t"]}))
        elif kind == "subscribe":
            self.subscribe(control, **message)

    def subscribe(self, control, subscription, stream, after=0, **_):
        print(f"subscribe {stream} {after}", flush=True)
        send = self._quic.send_stream_data
        header = {
            "version": 1, "subscription": subscription, "stream": stream, "after": after, "tail": 2,
            "status": "running", "retry_ms": 100,
        }
        own = self.h3.create_webtransport_stream(self.session, is_unidirectional=True)
        said = framed([HEADER, header]) + (framed([FRAME, [text(1, "before")]]) if after == 0 else b"")
        if stream == "no_header":
            send(own, framed([FRAME, [text(1, "before")]]))
        elif stream == "a_header_that_is_none":
            send(own, framed([HEADER, None]))
        elif stream == "garbage_on_control":
            send(own, said)
            send(control, framed([1, 2, 3]) + b"\xff\xff\xff\xff")
        elif stream == "null_on_control":
            send(own, said)
            send(control, framed(None))
        elif stream == "no_end":
            send(own, said, end_stream=True)
        elif stream == "a_record_that_breaks_off":
            send(own, said + b"\x00\x00\x00\x09\x91", end_stream=True)
        elif stream == "reset":
            send(own, said)
            # A reset overtakes what was sent before it.
            asyncio.get_running_loop().call_later(0.2, self.reset, own)
        elif stream == "unknown":
            rest = [[2, "novelty", {"from": 2}], text(3, " and behind", more=1)]
            end = [4, "end", {**END_OF_TWO, "blocks": 3}]
            send(control, framed({"type": "novelty"}))
            send(own, said + framed([77, {}]) + framed([FRAME, rest]) + framed([END, end]), end_stream=True)
        else:
            send(own, said + GARBAGE[stream])

    def reset(self, stream):
        self._quic.reset_stream(stream, CODE_BASE)
        self.transmit()


async def main(port, chain, key):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN, max_datagram_frame_size=65536)
    configuration.load_cert_chain(chain, key)
    await serve("127.0.0.1", int(port), configuration=configuration, create_protocol=Server)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
