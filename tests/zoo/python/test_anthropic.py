"""Anthropic's Python SDK."""

import asyncio

import anthropic

from zoo import GATEWAY, KEY, LOCKED, ODD, PROVIDER, QUESTION, REFUSED_ANSWERS, SCHEMA, Zoo, end, simulate, streams

TOOLS = [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}]
ASKED = {"model": "claude-zoo", "max_tokens": 1000, "messages": [{"role": "user", "content": QUESTION}]}


def client(base, **options):
    return anthropic.Anthropic(base_url=base, **{"api_key": "none", "max_retries": 0, **options})


def start(base, wanted, **more):
    return client(base).messages.create(**ASKED, stream=True, extra_body={"simulate": wanted}, **more)


def events(base, wanted, **more):
    return [event.model_dump() for event in start(base, wanted, **more)]


def message(base, wanted, **more):
    """What the helper makes of a stream."""
    with client(base).messages.stream(**ASKED, extra_body={"simulate": wanted}, **more) as stream:
        return stream.get_final_message().model_dump()


class Anthropic(Zoo):
    def test_stream(self):
        seen = self.same(lambda base: events(base, simulate()))
        self.assertEqual((seen[0]["type"], seen[-1]["type"]), ("message_start", "message_stop"))

    def test_whole(self):
        whole = self.same(
            lambda base: client(base).messages.create(**ASKED, extra_body={"simulate": simulate()}).model_dump()
        )
        [told] = message(GATEWAY, simulate())["content"]
        self.assertEqual(whole["content"][0]["text"], told["text"])

    def test_helper_with_tools_and_thinking(self):
        whole = self.same(lambda base: message(base, simulate(tool_calls=2, reasoning=20), tools=TOOLS))
        self.assertEqual([block["type"] for block in whole["content"]], ["thinking", "text", "tool_use", "tool_use"])
        self.assertEqual(whole["stop_reason"], "tool_use")
        self.assertIn("city", whole["content"][2]["input"])

    def test_odd_and_valid(self):
        self.same(lambda base: events(base, simulate(comments=2, **ODD)))
        self.same(lambda base: events(base, simulate(line_end="cr")))
        self.same(lambda base: message(base, simulate(line_end="crlf")))

    def test_async(self):
        async def ask(base):
            async with anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client:
                async with client.messages.stream(**ASKED, extra_body={"simulate": simulate()}) as stream:
                    return [text async for text in stream.text_stream]

        self.same(lambda base: asyncio.run(ask(base)))

    def test_error_in_mid_stream(self):
        self.fails_alike(lambda base: events(base, simulate(error_after=9)), anthropic.APIStatusError)
        self.fails_alike(lambda base: message(base, simulate(error_after=9)), anthropic.APIStatusError)

    def test_cut(self):
        for wanted in (simulate(cut_after=9), simulate(eof_after=9)):
            seen = []
            with self.assertRaises(anthropic.APIStatusError) as caught:
                for event in start(GATEWAY, wanted):
                    seen.append(event.model_dump())
            self.assertEqual(caught.exception.body["error"]["type"], "api_error")
            self.assertRegex(caught.exception.body["error"]["message"], r"\w+ \w+ \w+")
            self.assertEqual(seen, events(PROVIDER, simulate())[: len(seen)])
            self.assertGreaterEqual(len(seen), 8)

    def test_refused(self):
        for status, exception in [
            (400, anthropic.BadRequestError),
            (401, anthropic.AuthenticationError),
            (429, anthropic.RateLimitError),
            (500, anthropic.InternalServerError),
            (529, anthropic.APIStatusError),
        ]:
            with self.subTest(status):
                self.fails_alike(lambda base: events(base, simulate(status=status)), exception, status_code=status)
        whole = lambda base: client(base).messages.create(**ASKED, extra_body={"simulate": simulate(status=429)})
        self.fails_alike(whole, anthropic.RateLimitError)

    def test_refused_by_the_gateway(self):
        for stream in (True, False):
            with self.subTest(stream=stream):
                ask = lambda base, model, **who: client(base, **who).messages.create(
                    **ASKED | {"model": model}, stream=stream
                )
                self.fails(lambda: ask(GATEWAY, "nobody"), anthropic.NotFoundError)
                self.fails(lambda: ask(LOCKED, "claude-zoo;rate=0", api_key="wrong"), anthropic.AuthenticationError)
                self.assertTrue(ask(LOCKED, "claude-zoo;rate=0", api_key=KEY))
                self.assertTrue(ask(LOCKED, "claude-zoo;rate=0", api_key=None, auth_token=KEY))

    def test_not_a_stream(self):
        for wanted in REFUSED_ANSWERS:
            with self.subTest(wanted):
                self.fails(lambda: events(GATEWAY, simulate(**wanted)), anthropic.InternalServerError, status_code=502)

    def test_caller_goes_and_the_stream_goes_on(self):
        stream = start(GATEWAY, simulate(tokens=60, rate=100))
        next(stream)
        stream.close()
        self.assertEqual(end(stream.response.headers["tokencast-stream-id"])["reason"], "completed")

    def test_second_attempt_gets_the_stream_of_the_first(self):
        again = client(GATEWAY, max_retries=2, timeout=1.5).messages
        body = {"simulate": simulate(head_ms=2500)}
        with again.stream(**ASKED | {"model": "claude-again"}, extra_body=body) as stream:
            self.assertEqual(
                stream.get_final_message().content[0].text, message(PROVIDER, simulate())["content"][0]["text"]
            )
        self.assertEqual(len(streams("claude-again")), 1)

    def test_models(self):
        self.same(lambda base: [model.model_dump() for model in client(base).models.list()])
