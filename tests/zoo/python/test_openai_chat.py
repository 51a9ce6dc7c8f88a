"""OpenAI's Python SDK: chat completions, models, embeddings."""

import asyncio

import httpx
import openai

from zoo import GATEWAY, KEY, LOCKED, ODD, PROVIDER, QUESTION, REFUSED_ANSWERS, SCHEMA, Zoo, end, simulate, streams

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}]
ASKED = {"model": "gpt-zoo", "messages": [{"role": "user", "content": QUESTION}]}


def client(base, **options):
    return openai.OpenAI(base_url=f"{base}/v1", **{"api_key": "none", "max_retries": 0, **options})


def chunks(base, wanted, **more):
    stream = client(base).chat.completions.create(**ASKED, stream=True, extra_body={"simulate": wanted}, **more)
    return [chunk.model_dump() for chunk in stream]


def text_of(chunks):
    return "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks if chunk["choices"])


class OpenaiChat(Zoo):
    def test_stream(self):
        wanted = simulate()
        seen = self.same(lambda base: chunks(base, wanted, stream_options={"include_usage": True}))
        self.assertGreater(len(seen), 30)
        self.assertEqual(seen[-1]["usage"]["completion_tokens"], 40)

    def test_whole(self):
        def ask(base):
            return client(base).chat.completions.create(**ASKED, extra_body={"simulate": simulate()}).model_dump()

        whole = self.same(ask)
        self.assertEqual(whole["choices"][0]["message"]["content"], text_of(chunks(GATEWAY, simulate())))

    def test_helper_with_tools(self):
        def ask(base):
            more = {"extra_body": {"simulate": simulate(tool_calls=2)}, "tools": TOOLS}
            with client(base).chat.completions.stream(**ASKED, **more) as stream:
                kinds = [event.type for event in stream]
                return kinds, stream.get_final_completion().model_dump()

        kinds, whole = self.same(ask)
        self.assertIn("tool_calls.function.arguments.delta", kinds)
        self.assertEqual(
            [call["function"]["name"] for call in whole["choices"][0]["message"]["tool_calls"]], ["weather"] * 2
        )

    def test_reasoning(self):
        seen = self.same(lambda base: chunks(base, simulate(reasoning=20)))
        told = [chunk["choices"][0]["delta"].get("reasoning_content") for chunk in seen if chunk["choices"]]
        self.assertGreater(len([delta for delta in told if delta]), 10)

    def test_many_choices(self):
        seen = self.same(lambda base: chunks(base, simulate(), n=3))
        self.assertEqual({choice["index"] for chunk in seen for choice in chunk["choices"]}, {0, 1, 2})

    def test_odd_and_valid(self):
        self.assertGreater(len(self.same(lambda base: chunks(base, simulate(comments=2, **ODD)))), 30)
        self.same(lambda base: chunks(base, simulate(line_end="cr")))
        self.same(lambda base: chunks(base, simulate(line_end="crlf", no_done=True)))

    def test_async(self):
        async def ask(base):
            async with openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as client:
                body = {"simulate": simulate()}
                stream = await client.chat.completions.create(**ASKED, stream=True, extra_body=body)
                return [chunk.model_dump() async for chunk in stream]

        self.same(lambda base: asyncio.run(ask(base)))

    def test_error_in_mid_stream(self):
        self.fails_alike(lambda base: chunks(base, simulate(error_after=9)), openai.APIError)
        self.fails_alike(lambda base: chunks(base, simulate(error_at_finish=True)), openai.APIError)

    def test_cut(self):
        for wanted in (simulate(cut_after=9), simulate(eof_after=9)):
            seen = []
            with self.assertRaises(openai.APIError) as caught:
                for chunk in client(GATEWAY).chat.completions.create(
                    **ASKED, stream=True, extra_body={"simulate": wanted}
                ):
                    seen.append(chunk.model_dump())
            self.assertIn(caught.exception.code, ("upstream_cut", "upstream_eof"))
            # What came before it is there.
            self.assertEqual(seen, chunks(GATEWAY, simulate())[: len(seen)])
            self.assertEqual(len(seen), 9)

    def test_refused(self):
        for status, exception in [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (403, openai.PermissionDeniedError),
            (404, openai.NotFoundError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
            (503, openai.InternalServerError),
        ]:
            with self.subTest(status):
                self.fails_alike(lambda base: chunks(base, simulate(status=status)), exception, status_code=status)
        whole = lambda base: client(base).chat.completions.create(
            **ASKED, extra_body={"simulate": simulate(status=429)}
        )
        self.fails_alike(whole, openai.RateLimitError)

    def test_refused_by_the_gateway(self):
        unknown = ASKED | {"model": "nobody"}
        for stream in (True, False):
            with self.subTest(stream=stream):
                error = self.fails(
                    lambda: client(GATEWAY).chat.completions.create(**unknown, stream=stream), openai.NotFoundError
                )
                self.assertEqual(error.code, "unknown_model")
                ask = lambda key: client(LOCKED, api_key=key).chat.completions.create(
                    **ASKED, stream=stream, extra_body={"simulate": simulate()}
                )
                self.fails(lambda: ask("wrong"), openai.AuthenticationError)
                self.assertTrue(ask(KEY))
        with self.assertRaises(openai.BadRequestError):
            client(GATEWAY).post("/chat/completions", body=[1], cast_to=object)

    def test_not_a_stream(self):
        for wanted in REFUSED_ANSWERS:
            with self.subTest(wanted):
                self.fails(
                    lambda: chunks(GATEWAY, simulate(**wanted)),
                    openai.InternalServerError,
                    status_code=502,
                    code="not_a_stream",
                )

    def test_caller_goes_and_the_stream_goes_on(self):
        body = {"simulate": simulate(tokens=60, rate=100)}
        stream = client(GATEWAY).chat.completions.create(**ASKED, stream=True, extra_body=body)
        next(stream)
        stream.close()
        name = stream.response.headers["tokencast-stream-id"]
        self.assertEqual(end(name)["reason"], "completed")
        text = httpx.get(f"{GATEWAY}{stream.response.headers['location']}/text").text
        self.assertEqual(text, text_of(chunks(GATEWAY, simulate(tokens=60))))

    def test_second_attempt_gets_the_stream_of_the_first(self):
        asked = ASKED | {"model": "gpt-again"}
        body = {"simulate": simulate(head_ms=2500)}
        again = client(GATEWAY, max_retries=2, timeout=1.5)
        seen = [chunk.model_dump() for chunk in again.chat.completions.create(**asked, stream=True, extra_body=body)]
        self.assertEqual(text_of(seen), text_of(chunks(GATEWAY, simulate())))
        self.assertEqual(len(streams("gpt-again")), 1)

    def test_idempotency_key(self):
        asked = ASKED | {"model": "gpt-once", "extra_headers": {"Idempotency-Key": "zoo-once"}}

        def ask(wanted):
            body = {"simulate": wanted}
            return [
                chunk.model_dump()
                for chunk in client(GATEWAY).chat.completions.create(**asked, stream=True, extra_body=body)
            ]

        self.assertEqual(ask(simulate()), ask(simulate()))
        self.assertEqual(len(streams("gpt-once")), 1)
        error = self.fails(lambda: ask(simulate(seed=8)), openai.UnprocessableEntityError)
        self.assertEqual(error.code, "idempotency_mismatch")

    def test_models(self):
        names = [model.id for model in client(GATEWAY).models.list()]
        for model in client(GATEWAY).models.list():
            self.assertTrue(model.owned_by)
        directly = [model.id for model in client(PROVIDER).models.list()]
        self.assertTrue(directly)
        self.assertLessEqual(set(directly), set(names))

    def test_embeddings(self):
        ask = lambda base: client(base).embeddings.create(model="gpt-embedding", input=["one", "two"]).model_dump()
        self.assertEqual(len(self.same(ask)["data"]), 2)
