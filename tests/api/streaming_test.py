"""Streams: the shape of chunks, the same text as without a stream, usage, UTF-8, stop strings, comments."""
import asyncio
import json
import time
import unittest

import kvasir_server
from kvasir_server import CAPITAL, SYSTEM, Server

CHINESE = [SYSTEM, {"role": "user", "content": "Repeat exactly: 你好，世界 🙂 naïve café"}]


def events_of(content):
    """The data of server-sent events, comments left out."""
    events = []
    for block in content.decode().split("\n\n"):
        if block.startswith("data: "):
            events.append(block[len("data: "):])
        else:
            assert block == "" or block.startswith(":"), block
    return events


class Streaming(kvasir_server.ServerTest):
    def stream(self, body):
        status, headers, content = self.server.request(
            "POST", "/v1/chat/completions", {"temperature": 0, "stream": True, **body})
        self.assertEqual(status, 200, content)
        return headers, events_of(content)

    def test_the_shape_of_chunks(self):
        headers, events = self.stream({"messages": CAPITAL, "max_tokens": 5})
        self.assertEqual(headers["Content-Type"], "text/event-stream")
        self.assertEqual(headers["Cache-Control"], "no-cache")
        self.assertEqual(headers["X-Accel-Buffering"], "no")
        self.assertTrue(headers["X-Request-Id"])
        self.assertTrue(headers["X-Kvasir-Cached-Tokens"].isdigit())
        self.assertEqual(events[-1], "[DONE]")
        chunks = [json.loads(event) for event in events[:-1]]
        for member in ("id", "created", "model", "object"):
            self.assertEqual(len({chunk[member] for chunk in chunks}), 1, member)
        self.assertEqual(chunks[0]["object"], "chat.completion.chunk")
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertEqual(chunks[-1]["choices"][0]["delta"], {})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")
        for chunk in chunks:
            self.assertNotIn("usage", chunk)
        for chunk in chunks[:-1]:
            self.assertIsNone(chunk["choices"][0]["finish_reason"])

    def test_usage_comes_last(self):
        _, events = self.stream({"messages": CAPITAL, "max_tokens": 4,
                                 "stream_options": {"include_usage": True}})
        chunks = [json.loads(event) for event in events[:-1]]
        self.assertEqual(chunks[-1]["choices"], [])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 4)
        self.assertIn("cached_tokens", chunks[-1]["usage"]["prompt_tokens_details"])
        for chunk in chunks[:-1]:
            self.assertIsNone(chunk["usage"])

    def test_pieces_make_the_same_text(self):
        for messages in (CAPITAL, CHINESE):
            for stop in (None, ["."], ["世"], ["of Fr"]):
                options = {"model": self.model, "messages": messages, "max_tokens": 40,
                           "temperature": 0, "stop": stop}
                whole = self.client.chat.completions.create(**options).choices[0]
                pieces, reasons = [], []
                for chunk in self.client.chat.completions.create(stream=True, **options):
                    pieces.append(chunk.choices[0].delta.content or "")
                    reasons.append(chunk.choices[0].finish_reason)
                self.assertEqual("".join(pieces), whole.message.content)
                self.assertEqual(reasons[-1], whole.finish_reason)
                for text in stop or ():
                    self.assertNotIn(text, "".join(pieces))

    def test_several_choices_in_one_stream(self):
        whole = self.client.chat.completions.create(
            model=self.model, messages=CAPITAL, max_tokens=12, temperature=1, seed=5, n=3)
        texts = ["", "", ""]
        for chunk in self.client.chat.completions.create(
                model=self.model, messages=CAPITAL, max_tokens=12, temperature=1, seed=5, n=3,
                stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])

    def test_a_deadline_in_mid_stream_is_an_event(self):
        _, events = self.stream({"messages": CAPITAL, "max_tokens": 3000, "ignore_eos": True,
                                 "timeout_ms": 1500})
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(json.loads(events[-2])["error"]["code"], "timeout")
        import openai
        with self.assertRaises(openai.APIError):
            for _ in self.client.chat.completions.create(
                    model=self.model, messages=CAPITAL, max_tokens=3000, stream=True,
                    extra_body={"ignore_eos": True, "timeout_ms": 1500}):
                pass

    def test_completions_stream(self):
        options = {"model": self.model, "prompt": ["One, two, three,", "The sky is"],
                   "max_tokens": 10, "temperature": 0}
        whole = self.client.completions.create(**options)
        texts = ["", ""]
        for chunk in self.client.completions.create(stream=True, **options):
            texts[chunk.choices[0].index] += chunk.choices[0].text
        self.assertEqual(texts, [choice.text for choice in whole.choices])

    def test_async_streams_side_by_side(self):
        alone = self.client.chat.completions.create(
            model=self.model, messages=CAPITAL, max_tokens=20, temperature=0
        ).choices[0].message.content

        async def one(client):
            text = ""
            stream = await client.chat.completions.create(
                model=self.model, messages=CAPITAL, max_tokens=20, temperature=0, stream=True)
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            return text

        async def many():
            async with self.server.async_client() as client:
                return await asyncio.gather(*(one(client) for _ in range(8)))

        self.assertEqual(set(asyncio.run(many())), {alone})


class Comments(unittest.TestCase):
    def test_a_silent_stream_gets_comments_and_then_its_answer(self):
        # A prompt that takes longer to read than the interval.
        with Server("--ping-ms", "50", "--prefix-cache=false") as server:
            prompt = "word " * 3000
            start = time.monotonic()
            status, _, content = server.request(
                "POST", "/v1/completions",
                {"prompt": prompt, "max_tokens": 2, "temperature": 0, "stream": True})
            self.assertEqual(status, 200)
            self.assertTrue(content.startswith(b": ping\n\n"), content[:100])
            self.assertEqual(events_of(content)[-1], "[DONE]")
            self.assertLess(time.monotonic() - start, 60)


if __name__ == "__main__":
    kvasir_server.main()
