#!/usr/bin/env python3
"""Streams from Python, with nothing but its own library.

  stream.py start < request.json    starts a stream with the provider's request, and prints its id
  stream.py text ID                 its text as it comes, over all that breaks off
  stream.py events ID [AFTER]       its events as lines of JSON, each once
  stream.py stop ID                 stops it for everybody

TOKENCAST_URL is where the gateway is, TOKENCAST_KEY its key, if it has one.
"""

import json
import os
import sys
import time
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError

STREAMS = os.environ.get("TOKENCAST_URL", "http://127.0.0.1:8080") + "/v1/streams"
# The gateway says something every 15 s.
SILENT_S = 45


def call(path="", method="GET", body=None, **headers):
    if key := os.environ.get("TOKENCAST_KEY"):
        headers["tokencast-key"] = key
    request = urllib.request.Request(STREAMS + path, body, headers, method=method)
    return urllib.request.urlopen(request, timeout=SILENT_S)


def start(request):
    body = b'{"request":' + request + b"}"
    with call("", "POST", body, **{"content-type": "application/json"}) as answer:
        return json.load(answer)["id"]


def events(stream, after=0):
    """Every event once and in order, up to the end, whatever becomes of the connection."""
    while True:
        try:
            with call(f"/{stream}/events?after={after}", accept="application/x-ndjson") as answer:
                # What has no id comes again if the connection breaks off before the next one that has.
                held = []
                for line in answer:
                    event = json.loads(line)
                    if event["event"] in ("open", "heartbeat", "bye"):
                        continue
                    held.append(event)
                    if event["id"] is not None:
                        yield from held
                        held, after = [], event["id"]
                    if event["event"] == "end":
                        return
        except HTTPError as error:
            if error.code < 500:
                raise
        except (OSError, HTTPException, ValueError):
            pass  # broken off, perhaps within a line
        time.sleep(1)


def text(stream):
    for event in events(stream):
        data = event["data"]
        if event["event"] == "text" and "choice" not in data:
            print(data["text"], end="", flush=True)
        elif event["event"] == "end" and data["reason"] != "completed":
            sys.exit(f"\n{data['reason']}: {data['message'] or data['code']}")


def main(what="", *args):
    match what:
        case "start":
            print(start(sys.stdin.buffer.read()))
        case "text":
            text(*args)
        case "events":
            for event in events(*args):
                print(json.dumps(event, ensure_ascii=False), flush=True)
        case "stop":
            with call(f"/{args[0]}", "DELETE") as answer:
                print(answer.read().decode())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
