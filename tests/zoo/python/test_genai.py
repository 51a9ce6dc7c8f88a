"""Google's Python SDK."""

import asyncio

from google import genai
from google.genai import errors, types

from zoo import GATEWAY, KEY, LOCKED, PROVIDER, QUESTION, REFUSED_ANSWERS, Zoo, end, named, simulate, streams

TOOLS = [
    {
        "function_declarations": [
            {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
        ]
    }
]


# A stream breaks off when its client is collected.
KEPT = []


def client(base, key="none", **options):
    KEPT.append(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base, **options)))
    return KEPT[-1]


def config(wanted, **more):
    return types.GenerateContentConfig(http_options=types.HttpOptions(extra_body={"simulate": wanted}), **more)


def chunks(base, wanted, **more):
    asked = {"model": "gemini-zoo", "contents": QUESTION, "config": config(wanted, **more)}
    return [shown(chunk) for chunk in client(base).models.generate_content_stream(**asked)]


def shown(chunk):
    """Everything but the head of the answer, which has a date."""
    return chunk.model_dump(exclude={"sdk_http_response"})


def text_of(chunks):
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"] or []]
    return "".join(part["text"] or "" for part in parts)


class Genai(Zoo):
    def test_stream(self):
        seen = self.same(lambda base: chunks(base, simulate()))
        self.assertGreater(len(seen), 20)
        self.assertEqual(seen[-1]["candidates"][0]["finish_reason"], types.FinishReason.STOP)

    def test_both_versions_of_the_path(self):
        for version in ("v1", "v1beta"):

            def ask(base):
                sdk = client(base, api_version=version)
                stream = sdk.models.generate_content_stream(model=named("gemini-zoo"), contents=QUESTION)
                return [shown(chunk) for chunk in stream]

            with self.subTest(version):
                self.same(ask)

    def test_whole(self):
        def ask(base):
            return shown(
                client(base).models.generate_content(model="gemini-zoo", contents=QUESTION, config=config(simulate()))
            )

        self.assertEqual(text_of([self.same(ask)]), text_of(chunks(GATEWAY, simulate())))

    def test_tools_and_thoughts(self):
        seen = self.same(lambda base: chunks(base, simulate(tool_calls=2, reasoning=20), tools=TOOLS))
        parts = [part for chunk in seen for part in chunk["candidates"][0]["content"]["parts"] or []]
        self.assertEqual([part["function_call"]["name"] for part in parts if part["function_call"]], ["weather"] * 2)
        self.assertGreater(len([part for part in parts if part["thought"]]), 5)

    def test_odd_and_valid(self):
        self.same(lambda base: chunks(base, simulate(split=5, emoji_halves=True)))
        self.same(lambda base: chunks(base, simulate(line_end="lf", huge_line=100000)))

    def test_chat(self):
        def ask(base):
            chat = client(base).chats.create(model=named("gemini-zoo"))
            texts = [chunk.text for chunk in chat.send_message_stream(QUESTION)]
            return texts, chat.send_message("And then?").text

        self.same(ask)

    def test_async(self):
        async def ask(base):
            sdk = client(base)
            stream = await sdk.aio.models.generate_content_stream(
                model="gemini-zoo", contents=QUESTION, config=config(simulate())
            )
            return [shown(chunk) async for chunk in stream]

        self.same(lambda base: asyncio.run(ask(base)))

    def test_error_in_mid_stream(self):
        self.fails_alike(lambda base: chunks(base, simulate(error_after=9)), errors.APIError)

    def test_cut(self):
        for wanted in (simulate(cut_after=9), simulate(eof_after=9)):
            sdk, seen = client(GATEWAY), []
            with self.assertRaises(errors.APIError) as caught:
                for chunk in sdk.models.generate_content_stream(
                    model="gemini-zoo", contents=QUESTION, config=config(wanted)
                ):
                    seen.append(shown(chunk))
            self.assertRegex(caught.exception.message, r"\w+ \w+ \w+")
            self.assertEqual(caught.exception.status, "UNAVAILABLE")
            self.assertEqual(seen, chunks(PROVIDER, simulate())[: len(seen)])
            self.assertEqual(len(seen), 9)

    def test_refused(self):
        for status in (400, 401, 404, 429, 500):
            with self.subTest(status):
                exception = errors.ClientError if status < 500 else errors.ServerError
                self.fails_alike(lambda base: chunks(base, simulate(status=status)), exception, code=status)

    def test_refused_by_the_gateway(self):
        def ask(base, model, key):
            sdk = client(base, key)
            return list(sdk.models.generate_content_stream(model=model, contents=QUESTION))

        self.fails(lambda: ask(GATEWAY, "nobody", "none"), errors.ClientError, code=404)
        self.fails(lambda: ask(LOCKED, named("gemini-zoo"), "wrong"), errors.ClientError, code=401)
        self.assertTrue(ask(LOCKED, named("gemini-zoo"), KEY))
        whole = lambda base, model, key: client(base, key).models.generate_content(model=model, contents=QUESTION)
        self.fails(lambda: whole(GATEWAY, "nobody", "none"), errors.ClientError, code=404)
        self.fails(lambda: whole(LOCKED, named("gemini-zoo"), "wrong"), errors.ClientError, code=401)
        self.assertTrue(whole(LOCKED, named("gemini-zoo"), KEY))

    def test_not_a_stream(self):
        for wanted in REFUSED_ANSWERS:
            with self.subTest(wanted):
                self.fails(lambda: chunks(GATEWAY, simulate(**wanted)), errors.ServerError, code=502)

    def test_caller_goes_and_the_stream_goes_on(self):
        sdk = client(GATEWAY)
        model = named("gemini-gone", tokens=60, rate=100)
        stream = sdk.models.generate_content_stream(model=model, contents=QUESTION)
        first = next(stream)
        stream.close()
        sdk.close()
        [one] = streams(first.model_version)
        self.assertEqual(end(one["id"])["reason"], "completed")

    def test_models(self):
        self.same(lambda base: [model.model_dump() for model in client(base, api_version="v1beta").models.list()])
        listed = [model.name for model in client(GATEWAY).models.list()]
        self.assertTrue(listed and all(listed), listed)
