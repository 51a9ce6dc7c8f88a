"""Ollama's Python SDK, which sends nothing but what it knows: the model's name says what is wanted."""

import asyncio

import httpx
import ollama

from zoo import GATEWAY, KEY, LOCKED, PROVIDER, QUESTION, SCHEMA, Zoo, end, named, streams

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}]
MESSAGES = [{"role": "user", "content": QUESTION}]


def client(base, **options):
    return ollama.Client(host=base, **options)


def lines(base, model, **more):
    return [line.model_dump() for line in client(base).chat(model=model, messages=MESSAGES, stream=True, **more)]


class Ollama(Zoo):
    def test_stream(self):
        seen = self.same(lambda base: lines(base, named("llama")))
        self.assertGreater(len(seen), 20)
        self.assertTrue(seen[-1]["done"])

    def test_generate(self):
        def ask(base):
            return [
                line.model_dump() for line in client(base).generate(model=named("llama"), prompt=QUESTION, stream=True)
            ]

        self.assertGreater(len(self.same(ask)), 20)
        self.same(lambda base: client(base).generate(model=named("llama"), prompt=QUESTION).model_dump())

    def test_whole(self):
        whole = self.same(lambda base: client(base).chat(model=named("llama"), messages=MESSAGES).model_dump())
        told = "".join(line["message"]["content"] for line in lines(GATEWAY, named("llama")))
        self.assertEqual(whole["message"]["content"], told)

    def test_tools_and_thinking(self):
        seen = self.same(lambda base: lines(base, named("llama", tool_calls=2, reasoning=20), tools=TOOLS, think=True))
        calls = [call for line in seen for call in line["message"]["tool_calls"] or []]
        self.assertEqual([call["function"]["name"] for call in calls], ["weather"] * 2)
        self.assertGreater(len([line for line in seen if line["message"]["thinking"]]), 5)

    def test_odd_and_valid(self):
        self.same(lambda base: lines(base, named("llama", split=5, emoji_halves="true", huge_line=100000)))
        self.same(lambda base: lines(base, named("llama", line_end="crlf")))

    def test_async(self):
        async def ask(base):
            stream = await ollama.AsyncClient(host=base).chat(model=named("llama"), messages=MESSAGES, stream=True)
            return [line.model_dump() async for line in stream]

        self.same(lambda base: asyncio.run(ask(base)))

    def test_error_in_mid_stream(self):
        self.fails_alike(lambda base: lines(base, named("llama", error_after=9)), ollama.ResponseError)

    def test_cut(self):
        whole = lines(PROVIDER, named("llama"))
        for wanted in ({"cut_after": 9}, {"eof_after": 9}):
            seen = []
            with self.assertRaises(ollama.ResponseError) as caught:
                for line in client(GATEWAY).chat(model=named("llama", **wanted), messages=MESSAGES, stream=True):
                    seen.append(line.model_dump())
            self.assertRegex(caught.exception.error, r"\w+ \w+ \w+")
            told = lambda lines: [line["message"] for line in lines]
            self.assertEqual(told(seen), told(whole[:9]))

    def test_refused(self):
        for status in (400, 401, 404, 429, 500):
            with self.subTest(status):
                self.fails_alike(
                    lambda base: lines(base, named("llama", status=status)), ollama.ResponseError, status_code=status
                )

    def test_refused_by_the_gateway(self):
        for stream in (True, False):

            def ask(base, model, key):
                sdk = client(base, headers={"authorization": f"Bearer {key}"})
                answer = sdk.chat(model=model, messages=MESSAGES, stream=stream)
                return list(answer) if stream else answer

            with self.subTest(stream=stream):
                self.fails(lambda: ask(GATEWAY, "nobody", "none"), ollama.ResponseError, status_code=404)
                self.fails(lambda: ask(LOCKED, named("llama"), "wrong"), ollama.ResponseError, status_code=401)
                self.assertTrue(ask(LOCKED, named("llama"), KEY))

    def test_not_a_stream(self):
        for wanted in ({"content_type": "text/html"}, {"gzip_header": "true"}, {"redirect": "true"}):
            with self.subTest(wanted):
                self.fails(lambda: lines(GATEWAY, named("llama", **wanted)), ollama.ResponseError, status_code=502)

    def test_caller_goes_and_the_stream_goes_on(self):
        model = named("llama-gone", tokens=60, rate=100)
        stream = client(GATEWAY).chat(model=model, messages=MESSAGES, stream=True)
        first = next(stream)
        stream.close()
        [one] = streams(first.model)
        self.assertEqual(end(one["id"])["reason"], "completed")
        told = "".join(line["message"]["content"] for line in lines(PROVIDER, named("llama", tokens=60)))
        self.assertEqual(httpx.get(f"{GATEWAY}/v1/streams/{one['id']}/text").text, told)

    def test_models(self):
        self.assertTrue(self.same(lambda base: client(base).list().model_dump())["models"])
