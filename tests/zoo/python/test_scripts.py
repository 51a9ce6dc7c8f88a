"""examples/scripts, as they are run."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from test_events import asked, said
from zoo import GATEWAY, KEY, LOCKED, Zoo, end, fetch, simulate

SCRIPTS = Path(__file__).parents[3] / "examples" / "scripts"
LANGUAGES = {
    "curl": ["bash", SCRIPTS / "stream.sh"],
    "python": [sys.executable, SCRIPTS / "stream.py"],
    "node": [os.environ["NODE"], SCRIPTS / "stream.mjs"],
}


def run(command, *arguments, url=GATEWAY, key="", **options):
    environment = os.environ | {"TOKENCAST_URL": url, "TOKENCAST_KEY": key}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=60, **options
    )


class Breaking:
    """In front of the gateway: breaks the first connections off, each behind so many bytes of the answer."""

    def __init__(self, *behind):
        self.behind = list(behind)
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            left = self.behind.pop(0) if self.behind else None
            threading.Thread(target=self.relay, args=(caller, left), daemon=True).start()

    def relay(self, caller, left):
        gateway = urlsplit(GATEWAY)
        with caller, socket.create_connection((gateway.hostname, gateway.port)) as upstream:
            request = caller.recv(65536)
            self.requests.append(request.split(b"\r\n")[0].decode())
            upstream.sendall(request)
            while data := upstream.recv(65536):
                if left is None:
                    caller.sendall(data)
                    continue
                caller.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    return


class Scripts(Zoo):
    def each(self, *arguments, code=0, **options):
        """Runs it in every language; what it prints."""
        for language, command in LANGUAGES.items():
            with self.subTest(language):
                done = run(
                    command, *[argument() if callable(argument) else argument for argument in arguments], **options
                )
                self.assertEqual(done.returncode == 0, code == 0, done.stderr + done.stdout)
                yield language, done

    def start(self, **wanted):
        done = run(LANGUAGES["python"], "start", input=json.dumps(asked(simulate(**wanted))))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_start(self):
        for language, done in self.each("start", input=json.dumps(asked(simulate()), indent=2)):
            self.assertEqual(fetch(f"/v1/streams/{done.stdout.strip()}")["provider"], "openai", language)

    def test_text(self):
        told = said(seed=51, tokens=60)
        for _, done in self.each("text", lambda: self.start(seed=51, tokens=60, rate=200)):
            self.assertEqual(done.stdout, told)

    def test_text_of_what_breaks_off(self):
        for _, done in self.each("text", lambda: self.start(seed=51, tokens=60, cut_after=9), code=1):
            self.assertTrue(done.stdout and said(seed=51, tokens=60).startswith(done.stdout), done.stdout)
            self.assertTrue(done.stderr)

    def test_events(self):
        stream = self.start(reasoning=10)
        whole = None
        for _, done in self.each("events", stream):
            events = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(events[-1]["event"], "end")
            self.assertEqual(
                "".join(event["data"]["text"] for event in events if event["event"] == "text"), said(reasoning=10)
            )
            whole = whole or events
            self.assertEqual(events, whole)
        for _, done in self.each("events", stream, "20"):
            events = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(events[0]["data"]["from"], 21)
            self.assertEqual(events[-1], whole[-1])

    def test_broken_off_and_resumed(self):
        for language, command in LANGUAGES.items():
            with self.subTest(language):
                stream = self.start(seed=52, tokens=60, rate=60)
                # Behind some lines, within the head, before anything was said.
                front = Breaking(1500, 60, 0)
                done = run(command, "events", stream, url=front.url)
                front.listener.close()
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(len(front.requests), 4, front.requests)
                self.assertRegex(front.requests[1], r"after=[1-9]")
                events = [json.loads(line) for line in done.stdout.splitlines()]
                ids = [event["id"] for event in events if event["id"] is not None]
                self.assertEqual(ids, sorted(set(ids)))
                self.assertEqual(
                    "".join(event["data"]["text"] for event in events if event["event"] == "text"),
                    said(seed=52, tokens=60),
                )

    def test_stop(self):
        streams = []
        for _, done in self.each("stop", lambda: streams.append(self.start(tokens=5000, rate=20)) or streams[-1]):
            self.assertIn(streams[-1], done.stdout)
            self.assertEqual(end(streams[-1])["reason"], "cancelled")

    def test_refused(self):
        for what in ("text", "events", "stop"):
            for _, done in self.each(what, "nobodys", code=1):
                self.assertIn("404", done.stderr)
        for _, done in self.each("start", input="{", code=1):
            self.assertIn("400", done.stderr)
        for _, done in self.each("start", url=LOCKED, code=1, input=json.dumps(asked(simulate()))):
            self.assertIn("401", done.stderr)
        for _, done in self.each("start", url=LOCKED, key=KEY, input=json.dumps(asked(simulate()))):
            self.assertTrue(done.stdout.strip())
