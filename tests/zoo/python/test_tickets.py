"""examples/tickets, as they are run: what they sign opens streams of a gateway that knows their keys."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from test_events import asked
from zoo import KEY, LOCKED, OLDER, TICKETS, Zoo, simulate

EXAMPLES = Path(__file__).parents[3] / "examples" / "tickets"
HERE = Path(__file__).parents[1]


def call(path, method="GET", key=None, body=None):
    """Status and body of an answer."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(LOCKED + path, body and json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


@unittest.skipIf(OLDER, "they are no clients")
class Tickets(Zoo):
    def scripts(self):
        # Node looks for packages beside the file.
        directory = Path(tempfile.mkdtemp(prefix=".tickets-", dir=HERE))
        self.addCleanup(shutil.rmtree, directory)
        script = shutil.copy(EXAMPLES / "node" / "ticket.mjs", directory)
        return {"node": [os.environ["NODE"], script], "python": [sys.executable, EXAMPLES / "python" / "ticket.py"]}

    def test_what_they_sign_opens_the_streams_of_a_user(self):
        for language, command in self.scripts().items():
            for kid, key in TICKETS.items():
                with self.subTest(language, kid=kid), tempfile.NamedTemporaryFile("w") as file:
                    file.write(key + "\n")
                    file.flush()
                    user = f"{language}-{kid}-user4"
                    mine, other = f"{user}2-a", f"{user}-a"
                    for stream in (mine, other):
                        start = {"id": stream, "request": asked(simulate(tokens=5))}
                        status, _ = call("/v1/streams", "POST", KEY, start)
                        self.assertEqual(status, 201)

                    def sign(*arguments):
                        signed = [*command, file.name, kid, f"{user}2-", *arguments]
                        return subprocess.run(signed, capture_output=True, text=True, check=True).stdout.strip()

                    ticket = sign()
                    text = call(f"/v1/streams/{mine}/text", key=KEY)
                    self.assertEqual(call(f"/v1/streams/{mine}/text?ticket={ticket}"), text)
                    self.assertEqual(call(f"/v1/streams/{other}/text?ticket={ticket}")[0], 404)
                    self.assertEqual(call(f"/v1/streams/{mine}", "DELETE", ticket)[0], 403)
                    self.assertEqual(call(f"/v1/streams/{mine}", "DELETE", sign("60", "stop"))[0], 200)
                    self.assertEqual(call(f"/v1/streams/{mine}", key=sign("90000"))[0], 401, "longer than a day")
