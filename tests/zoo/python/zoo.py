"""What all tests of the zoo share: where everybody is, what is asked for, and the comparison."""

import json
import os
import unittest
import urllib.request

WHERE = json.loads(os.environ["ZOO"])
PROVIDER, GATEWAY, LOCKED, KEY = (WHERE[name] for name in ("PROVIDER", "GATEWAY", "LOCKED", "KEY"))
TICKETS, OLDER = WHERE["TICKETS"], WHERE["OLDER"]

QUESTION = "Go on."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}


def simulate(**wanted):
    """What the simulated provider is to do: always the same, at once."""
    return {"seed": 7, "tokens": 40, "rate": 0, **wanted}


def named(model, **wanted):
    """The same as a model's name, for clients that send nothing else."""
    return ";".join([model, *(f"{name}={value}" for name, value in simulate(**wanted).items())])


# Whatever is valid and odd: the smallest pieces, half an emoji each, one very long line.
ODD = {"split": 5, "emoji_halves": True, "huge_line": 200000}

# What no streaming call can be answered with.
REFUSED_ANSWERS = [
    {"content_type": "text/html"},
    {"content_type": "application/json"},
    {"gzip_header": True},
    {"redirect": True},
]


def fetch(path, method="GET"):
    headers = {"accept": "application/json"}
    request = urllib.request.Request(GATEWAY + path, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def streams(model):
    """The streams of this model that the gateway has started."""
    return [one for one in fetch("/v1/streams?limit=1000")["streams"] if one["model"] == model]


def end(stream):
    """The end of a stream, once it is there."""
    answer = {"cursor": 0, "end": None}
    while not answer["end"]:
        answer = fetch(f"/v1/streams/{stream}/events?after={answer['cursor']}&wait_s=20")
    return answer["end"]


class Zoo(unittest.TestCase):
    maxDiff = 4000

    def same(self, call):
        """Calls the gateway and the provider; both have to give the same, which is returned."""
        through, directly = call(GATEWAY), call(PROVIDER)
        self.assertEqual(through, directly)
        self.assertTrue(through)
        return through

    def fails(self, call, exception, **attributes):
        """The call has to raise this, with a sentence in it."""
        with self.assertRaises(exception) as caught:
            call()
        for name, value in attributes.items():
            self.assertEqual(getattr(caught.exception, name), value, caught.exception)
        self.assertRegex(str(caught.exception), r"\w+ \w+ \w+", "a sentence")
        return caught.exception

    def fails_alike(self, call, exception, **attributes):
        """The call has to raise this at the gateway with the same words as at the provider."""
        through, directly = (self.fails(lambda: call(base), exception, **attributes) for base in (GATEWAY, PROVIDER))
        self.assertIs(type(through), type(directly))
        self.assertEqual(str(through), str(directly))
