"""A provider that is silent for longer than the gateway's heartbeat, at every door at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import test_anthropic
import test_genai
import test_ollama
import test_openai_chat
import test_openai_responses
from zoo import GATEWAY, PROVIDER, Zoo, named, simulate

# 15 s pass before the first heartbeat.
SILENT = {"first_byte_ms": 17000}

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
    return json.loads(json.dumps(seen, default=str).replace(";first_byte_ms=17000", ""))


class Slow(Zoo):
    def test_silence(self):
        with ThreadPoolExecutor(len(CLIENTS)) as pool:
            slow = {name: pool.submit(call, GATEWAY, SILENT) for name, call in CLIENTS.items()}
            for name, call in CLIENTS.items():
                with self.subTest(name):
                    quick = settled(call(PROVIDER, {}))
                    self.assertGreater(len(quick), 5)
                    self.assertEqual(settled(slow[name].result()), quick)
