"""OpenAI's Python SDK: responses, also retrieved, resumed, cancelled and deleted."""

import openai

from test_openai_chat import client
from zoo import GATEWAY, KEY, LOCKED, ODD, PROVIDER, QUESTION, SCHEMA, Zoo, simulate

TOOLS = [{"type": "function", "name": "weather", "description": "The weather", "parameters": SCHEMA, "strict": False}]
ASKED = {"model": "gpt-responses", "input": QUESTION}


def start(base, wanted, **more):
    return client(base).responses.create(**ASKED, stream=True, extra_body={"simulate": wanted}, **more)


def events(base, wanted, **more):
    return [event.model_dump() for event in start(base, wanted, **more)]


class OpenaiResponses(Zoo):
    def test_stream(self):
        seen = self.same(lambda base: events(base, simulate()))
        self.assertEqual([event["sequence_number"] for event in seen], list(range(len(seen))))
        self.assertEqual(seen[-1]["type"], "response.completed")

    def test_whole(self):
        ask = lambda base: client(base).responses.create(**ASKED, extra_body={"simulate": simulate()}).model_dump()
        self.assertEqual(self.same(ask)["status"], "completed")

    def test_helper_with_tools_and_reasoning(self):
        def ask(base):
            more = {"extra_body": {"simulate": simulate(tool_calls=2, reasoning=20)}, "tools": TOOLS}
            with client(base).responses.stream(**ASKED, **more) as stream:
                kinds = {event.type for event in stream}
                return kinds, stream.get_final_response().model_dump()

        kinds, whole = self.same(ask)
        self.assertIn("response.function_call_arguments.delta", kinds)
        self.assertEqual([item["type"] for item in whole["output"]].count("function_call"), 2)
        self.assertIn("reasoning", [item["type"] for item in whole["output"]])

    def test_odd_and_valid(self):
        self.same(lambda base: events(base, simulate(comments=2, **ODD)))
        self.same(lambda base: events(base, simulate(line_end="crlf")))

    def test_error_in_mid_stream(self):
        # This SDK gives it as an event.
        seen = self.same(lambda base: attempt(lambda: events(base, simulate(error_after=9))))
        self.assertIn("error", str(seen))

    def test_cut(self):
        for wanted, code in [(simulate(cut_after=9), "upstream_cut"), (simulate(eof_after=9), "upstream_eof")]:
            whole = events(GATEWAY, simulate())
            seen = []
            try:
                for event in start(GATEWAY, wanted):
                    seen.append(event.model_dump())
                self.fail("a clean end")
            except openai.APIError as error:
                said = str(error)
            except Exception as error:
                said = repr(error)
            self.assertEqual([event["type"] for event in whole[:9]], [event["type"] for event in seen[:9]])
            self.assertEqual(whole[:9], seen[:9])
            # It comes as an event, before the body breaks off.
            self.assertEqual([(event["type"], event["code"]) for event in seen[9:]], [("error", code)], said)

    def test_refused(self):
        for status, exception in [
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ]:
            with self.subTest(status):
                self.fails_alike(lambda base: events(base, simulate(status=status)), exception, status_code=status)

    def test_refused_by_the_gateway(self):
        ask = lambda base, key, model: client(base, api_key=key).responses.create(
            model=model, input=QUESTION, stream=True
        )
        self.fails(lambda: ask(GATEWAY, "any", "nobody"), openai.NotFoundError, code="unknown_model")
        self.fails(lambda: ask(LOCKED, "wrong", "gpt-responses"), openai.AuthenticationError)
        self.assertTrue(next(ask(LOCKED, KEY, "gpt-responses;rate=0")))
        self.fails(lambda: client(GATEWAY).responses.retrieve("resp_nobodys"), openai.NotFoundError)

    def test_retrieved(self):
        *_, last = events(GATEWAY, simulate(seed=21))
        name = last["response"]["id"]
        self.assertEqual(client(GATEWAY).responses.retrieve(name).model_dump(), last["response"])

    def test_caller_goes_and_comes_back(self):
        whole = events(PROVIDER, simulate(seed=22))
        stream = start(GATEWAY, simulate(seed=22, rate=100))
        first = [next(stream).model_dump() for _ in range(8)]
        stream.close()
        name = first[0]["response"]["id"]
        rest = client(GATEWAY).responses.retrieve(name, stream=True, starting_after=first[-1]["sequence_number"])
        self.assertEqual(first + [event.model_dump() for event in rest], whole)
        again = client(GATEWAY).responses.retrieve(name, stream=True)
        self.assertEqual([event.model_dump() for event in again], whole)
        helper = client(GATEWAY).responses.stream(response_id=name, starting_after=first[-1]["sequence_number"])
        with helper as stream:
            numbers = [event.sequence_number for event in stream]
        self.assertEqual(numbers, [event["sequence_number"] for event in whole[8:]])

    def test_background(self):
        *_, last = events(GATEWAY, simulate(seed=23), background=True)
        self.assertEqual(last["type"], "response.completed")

    def test_cancelled_and_deleted(self):
        stream = start(GATEWAY, simulate(seed=24, tokens=1000, rate=10))
        name = next(stream).response.id
        self.assertEqual(client(GATEWAY).responses.cancel(name).status, "cancelled")
        self.assertEqual(client(GATEWAY).responses.retrieve(name).status, "cancelled")
        client(GATEWAY).responses.delete(name)
        with self.assertRaises(openai.APIStatusError) as caught:
            client(GATEWAY).responses.retrieve(name)
        self.assertIn(caught.exception.status_code, (404, 410))


def attempt(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__, str(error)
