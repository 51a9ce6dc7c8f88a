"""A provider that is silent for longer than the gateway's heartbeat, at every door at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import test_anthropic
import test_genai
import test_ollama
import test_openai_chat
import test_openai_responses
from zoo import GATEWAY, PROVIDER, Zoo, named, simulate

# Two heartbeats are in it.
SILENT = {"first_byte_ms": 31000}

CLIENTS = {
    "openai chat": lambda base, wanted: test_openai_chat.chunks(base, simulate(**wanted)),
    "openai responses": lambda base, wanted: test_openai_responses.events(base, simulate(**wanted)),
    "openai responses, helper": lambda base, wanted: helper(base, simulate(**wanted)),
    "anthropic": lambda base, wanted: test_anthropic.events(base, simulate(**wanted)),
    "anthropic, helper": lambda base, wanted: test_anthropic.message(base, simulate(**wanted)),
    "genai": lambda base, wanted: test_genai.chunks(base, simulate(**wanted)),
    "ollama": lambda base, wanted: test_ollama.lines(base, named("llama-zoo", **wanted)),
}


def helper(base, wanted):
    with test_openai_chat.client(base).responses.stream(
        **test_openai_responses.ASKED, extra_body={"simulate": wanted}
    ) as stream:
        return stream.get_final_response().model_dump()


def settled(seen):
    """Without the names that Ollama's models have here, which say how slow they are, and what Ollama measures."""
    return json.loads(json.dumps(seen, default=str).replace(";first_byte_ms=31000", ""))


def impatient(base):
    """A caller that gives up when nothing is heard for 20 s."""
    sdk = test_openai_chat.client(base, timeout=20)
    body = {"simulate": simulate(**SILENT)}
    stream = sdk.chat.completions.create(**test_openai_chat.ASKED, stream=True, extra_body=body)
    return [chunk.model_dump() for chunk in stream]


class Slow(Zoo):
    def test_silence(self):
        with ThreadPoolExecutor(len(CLIENTS) + 2) as pool:
            kept, lost = pool.submit(impatient, GATEWAY), pool.submit(impatient, PROVIDER)
            slow = {name: pool.submit(call, GATEWAY, SILENT) for name, call in CLIENTS.items()}
            for name, call in CLIENTS.items():
                with self.subTest(name):
                    quick = settled(call(PROVIDER, {}))
                    self.assertGreater(len(quick), 5)
                    self.assertEqual(settled(slow[name].result()), quick)
            # A heartbeat is what this one waits for.
            self.assertGreater(len(kept.result()), 30)
            self.assertRegex(type(lost.exception()).__name__, "Timeout")
