"""Text completions: strings, lists, token ids, lists of them, echo, logprobs."""
import math

import kvasir_server


class Completions(kvasir_server.ServerTest):
    PROMPT = "The capital of France is"

    def complete(self, prompt=PROMPT, **options):
        options = {"temperature": 0, "max_tokens": 6, **options}
        return self.client.completions.create(model=self.model, prompt=prompt, **options)

    def tokens(self, text):
        return self.server.json("POST", "/tokenize", {"content": text})[1]["tokens"]

    def test_every_form_of_a_prompt(self):
        text = self.complete().choices[0].text
        self.assertIn("Paris", text)
        ids = self.tokens(self.PROMPT)
        self.assertEqual(self.complete(ids).choices[0].text, text)
        self.assertEqual(self.complete([self.PROMPT]).choices[0].text, text)
        other = self.complete("One, two,").choices[0].text
        for prompts in ([self.PROMPT, "One, two,"], [ids, self.tokens("One, two,")]):
            reply = self.complete(prompts)
            self.assertEqual([choice.text for choice in reply.choices], [text, other])
            self.assertEqual([choice.index for choice in reply.choices], [0, 1])
            self.assertEqual(reply.usage.prompt_tokens,
                             len(ids) + len(self.tokens("One, two,")))

    def test_sixteen_tokens_unless_told(self):
        reply = self.client.completions.create(
            model=self.model, prompt="Once upon a time", temperature=0,
            extra_body={"ignore_eos": True})
        self.assertEqual(reply.usage.completion_tokens, 16)

    def test_several_choices_of_several_prompts(self):
        reply = self.complete([self.PROMPT, "One, two,"], n=2)
        self.assertEqual(len(reply.choices), 4)
        self.assertEqual(reply.choices[0].text, reply.choices[1].text)
        self.assertEqual(reply.choices[2].text, reply.choices[3].text)

    def test_echo(self):
        text = self.complete().choices[0].text
        self.assertEqual(self.complete(echo=True).choices[0].text, self.PROMPT + text)
        self.assertEqual(self.complete(self.tokens(self.PROMPT), echo=True).choices[0].text,
                         self.PROMPT + text)
        only = self.complete(echo=True, max_tokens=0)
        self.assertEqual(only.choices[0].text, self.PROMPT)
        self.assertEqual(only.usage.completion_tokens, 0)

    def test_logprobs_of_the_answer(self):
        reply = self.complete(logprobs=3)
        logprobs = reply.choices[0].logprobs
        self.assertEqual("".join(logprobs.tokens), reply.choices[0].text)
        self.assertEqual(len(logprobs.tokens), 6)
        for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs,
                                       logprobs.top_logprobs):
            self.assertEqual(len(top), 3)
            # Greedy: the token is the likeliest.
            self.assertAlmostEqual(max(top.values()), logprob, places=5)
            self.assertLessEqual(sum(math.exp(value) for value in top.values()), 1 + 1e-5)
            self.assertIn(token, top)
        self.assertEqual(logprobs.text_offset[0], 0)

    def test_logprobs_of_an_echoed_prompt(self):
        reply = self.complete(echo=True, logprobs=1, max_tokens=1)
        logprobs = reply.choices[0].logprobs
        ids = self.tokens(self.PROMPT)
        self.assertEqual(len(logprobs.tokens), len(ids) + 1)
        self.assertEqual("".join(logprobs.tokens), reply.choices[0].text)
        self.assertIsNone(logprobs.token_logprobs[0])
        self.assertIsNone(logprobs.top_logprobs[0])
        self.assertTrue(all(value <= 0 for value in logprobs.token_logprobs[1:]))
        for i, offset in enumerate(logprobs.text_offset):
            self.assertTrue(reply.choices[0].text[offset:].startswith(logprobs.tokens[i]))
        # How likely a text is does not depend on whether it was said or given.
        said = self.complete(logprobs=1, max_tokens=2)
        given = self.complete(self.PROMPT + said.choices[0].text, echo=True, logprobs=1,
                              max_tokens=1)
        self.assertAlmostEqual(given.choices[0].logprobs.token_logprobs[len(ids)],
                               said.choices[0].logprobs.token_logprobs[0], places=5)

    def test_chat_logprobs(self):
        reply = self.client.chat.completions.create(
            model=self.model, messages=kvasir_server.CAPITAL, max_tokens=4, temperature=0,
            logprobs=True, top_logprobs=2)
        content = reply.choices[0].logprobs.content
        self.assertEqual(len(content), 4)
        self.assertEqual("".join(entry.token for entry in content),
                         reply.choices[0].message.content)
        for entry in content:
            self.assertEqual(bytes(entry.bytes).decode(), entry.token)
            self.assertEqual(len(entry.top_logprobs), 2)
            self.assertEqual(entry.top_logprobs[0].token, entry.token)
        streamed = []
        for chunk in self.client.chat.completions.create(
                model=self.model, messages=kvasir_server.CAPITAL, max_tokens=4, temperature=0,
                logprobs=True, top_logprobs=2, stream=True):
            if chunk.choices[0].logprobs:
                streamed += chunk.choices[0].logprobs.content
        self.assertEqual([entry.token for entry in streamed], [entry.token for entry in content])
        for streamed_entry, entry in zip(streamed, content):
            self.assertAlmostEqual(streamed_entry.logprob, entry.logprob, places=5)

    def test_token_ids(self):
        status, reply = self.server.json("POST", "/v1/completions", {
            "prompt": self.PROMPT, "max_tokens": 6, "temperature": 0, "return_token_ids": True})
        self.assertEqual(status, 200)
        choice = reply["choices"][0]
        text = self.server.json("POST", "/detokenize", {"tokens": choice["token_ids"]})[1]
        self.assertEqual(text["content"], choice["text"])

    def test_truncation_is_asked_for(self):
        ids = self.tokens("one two three four five six seven eight nine ten")
        reply = self.complete(ids, extra_body={"truncate_prompt_tokens": 4})
        self.assertEqual(reply.usage.prompt_tokens, 4)
        self.assertEqual(reply.choices[0].text, self.complete(ids[-4:]).choices[0].text)


if __name__ == "__main__":
    kvasir_server.main()
