"""httpx-sse on the native view and on OpenAI's door."""

import json

import httpx
from httpx_sse import SSEError, connect_sse

from zoo import GATEWAY, LOCKED, PROVIDER, QUESTION, Zoo, end, simulate

# What an answer is, and not what follows from when it came.
ANSWER = ("meta", "text", "reasoning", "tool_call", "usage", "finish", "error")


def asked(wanted):
    return {"model": "gpt-events", "messages": [{"role": "user", "content": QUESTION}], "simulate": wanted}


def cast(**wanted):
    answer = httpx.post(f"{GATEWAY}/v1/streams", json={"request": asked(simulate(**wanted))})
    assert answer.status_code == 201, answer.text
    return answer.json()


def said(**wanted):
    answer = httpx.post(f"{PROVIDER}/v1/chat/completions", json=asked(simulate(**wanted)), timeout=30)
    return answer.json()["choices"][0]["message"]["content"]


def follow(url, most=None, **headers):
    """Events as (name, id, data), all of them or so many; ids only where they are in the log."""
    events = []
    with httpx.Client(timeout=20) as client, connect_sse(client, "GET", url, headers=headers) as source:
        for event in source.iter_sse():
            # It makes an event of a heartbeat, once there was an id.
            if not event.data:
                continue
            events.append((event.event, event.id, json.loads(event.data)))
            if most and len([name for name, *_ in events if name in ANSWER]) >= most:
                break
    return events


def text_of(events):
    return "".join(data["text"] for name, _, data in events if name == "text")


class Events(Zoo):
    def test_stream(self):
        events = follow(cast(reasoning=20)["urls"]["events"])
        self.assertEqual((events[0][0], events[-1][0]), ("open", "end"))
        self.assertEqual(text_of(events), said(reasoning=20))
        self.assertEqual(events[-1][2]["reason"], "completed")
        self.assertEqual(events[-1][2]["usage"]["output"], 60)

    def test_slow_start(self):
        events = follow(cast(first_byte_ms=2500)["urls"]["events"] + "?heartbeat_ms=500")
        self.assertEqual(text_of(events), said())

    def test_dropped_and_resumed(self):
        url = cast(tokens=60, rate=100)["urls"]["events"]
        first = follow(url, most=10)
        rest = follow(url, **{"last-event-id": first[-1][1]})
        # What stands behind the last id comes again.
        self.assertEqual(rest[0][2]["after"], int(first[-1][1]))
        self.assertEqual(text_of(first) + text_of(rest), said(tokens=60))

    def test_error_in_mid_stream_and_cut(self):
        for wanted, code in [
            ({"error_after": 9}, "upstream_error"),
            ({"cut_after": 9}, "upstream_cut"),
            ({"eof_after": 9}, "upstream_eof"),
            ({"status": 429}, "upstream_status"),
        ]:
            with self.subTest(wanted):
                *_, (name, _, last) = follow(cast(**wanted)["urls"]["events"])
                self.assertEqual((name, last["reason"], last["code"]), ("end", "failed", code))
                self.assertRegex(last["message"], r"\w+ \w+")

    def test_stopped(self):
        started = cast(tokens=5000, rate=20)
        follow(started["urls"]["events"], most=3)
        stop = httpx.delete(
            f"{GATEWAY}/v1/streams/{started['id']}", headers={"authorization": f"Bearer {started['ticket']}"}
        )
        self.assertIn(stop.status_code, (200, 202))
        self.assertEqual(end(started["id"])["reason"], "cancelled")

    def test_refused(self):
        for url in (f"{GATEWAY}/v1/streams/nobodys/events", f"{LOCKED}/v1/streams/any/events"):
            with self.assertRaises(SSEError), httpx.Client() as client, connect_sse(client, "GET", url) as source:
                next(source.iter_sse())

    def test_openai_door(self):
        def ask(base):
            body = asked(simulate(comments=3)) | {"stream": True}
            with httpx.Client(timeout=20) as client, connect_sse(
                client, "POST", f"{base}/v1/chat/completions", json=body
            ) as source:
                return [event.data for event in source.iter_sse()]

        self.assertEqual(self.same(ask)[-1], "[DONE]")
