#!/usr/bin/env python3
"""Writes templates_fixtures.json: templates, conversations and snippets with what jinja2 makes of them.

jinja2 is set up as transformers does it for chat templates (utils/chat_template_utils.py). Needs PyPI jinja2 (3.1.6), and
PyPI gguf for the default model's own template, which must equal templates/smollm2.jinja.
Usage: templates_make_fixtures.py [MODEL.gguf] > templates_fixtures.json
"""

import copy
import datetime
import importlib.metadata
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

import templates_snippets

HERE = pathlib.Path(__file__).parent
NOW = "2024-07-26T12:34:56"


class Generation(jinja2.ext.Extension):
    """{% generation %}: transformers notes where its text stands; the text itself is passed through."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("passed"), [], [], body).set_lineno(line)

    def passed(self, caller):
        return caller()


class PlainDict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


class PlainNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            PlainNamespace.check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name, value):
        PlainNamespace.check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def check(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"no underscore names: {name!r}")


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def to_json(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = to_json
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: datetime.datetime.fromisoformat(NOW).strftime(format)
    env.globals["dict"] = PlainDict()
    env.globals["namespace"] = PlainNamespace
    return env


ENV = environment()


def render(source, inputs):
    """What transformers renders, or the message of the exception, as {"text"} or {"error", "raised"}."""
    variables = {
        "documents": None,
        "tools": None,
        "messages": [],
        "add_generation_prompt": True,
        "bos_token": "",
        "eos_token": "",
    }
    variables.update(copy.deepcopy(inputs))  # |indent changes lists in place
    try:
        text = ENV.from_string(source).render(**variables)
        text.encode("utf-8")  # lone surrogates are no text
        return {"text": text}
    except Exception as e:  # whatever a template can provoke
        return {"error": f"{type(e).__name__}: {e}", "raised": type(e) is jinja2.exceptions.TemplateError}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.\nUses the nearest station.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City, e.g. Zürich <CH> & \"others\""},
                "days": {"type": "integer", "minimum": 1, "maximum": 14.5},
                "fields": {"type": "array", "items": {"type": "string"}, "description": " which "},
                "unit": {"type": ["string", "null"], "enum": ["°C", "°F", None]},
                "extra": {"type": "object", "additionalProperties": {"type": "number"}},
            },
            "required": ["city"],
        },
        "return": {"type": "string"},
    },
}
PING = {
    "type": "function",
    "function": {"name": "ping", "description": "", "parameters": {"type": "object", "properties": {}}},
}


def call(name, arguments, call_id):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations():
    user = {"role": "user", "content": "What is the capital of France?"}
    system = {"role": "system", "content": " You answer in one word. "}
    answer = {"role": "assistant", "content": "  Paris.\n"}
    more = {"role": "user", "content": "And of 日本? 🎉 <|im_end|> {{ 7*7 }} {% raw %}"}
    thought = {"role": "assistant", "content": "<think>\nJapan, so\n\n</think>\n\nTokyo"}
    calls = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            call("get_weather", {"city": "Köln", "days": 2, "fields": ["a", "b\n"], "unit": None}, "abcdefghi"),
            call("ping", {}, "123456789"),
        ],
    }
    one_call = {"role": "assistant", "content": "", "tool_calls": [call("ping", {"x": 1.5e-7}, "abcdefghi")]}
    result = {"role": "tool", "name": "get_weather", "content": "{\"sunny\": true}", "tool_call_id": "abcdefghi"}
    pong = {"role": "tool", "name": "ping", "content": "pong", "tool_call_id": "123456789"}
    ask = {"role": "user", "content": "Weather in Köln?"}
    done = {"role": "assistant", "content": "Sunny.", "reasoning_content": "I know."}
    parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is this? "}]}
    return {
        "one question": {"messages": [user]},
        "system and question": {"messages": [system, user]},
        "several turns": {"messages": [system, user, answer, more]},
        "several turns without system": {"messages": [user, answer, more, thought, user]},
        "no system, answered": {"messages": [user, answer]},
        "thought at the end": {"messages": [user, thought]},
        "empty contents": {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]},
        "roles out of turn": {"messages": [user, user]},
        "tools, no call": {"messages": [user], "tools": [WEATHER, PING]},
        "tools and system": {"messages": [system, user], "tools": [WEATHER]},
        "two calls and results": {"messages": [ask, calls, result, pong], "tools": [WEATHER, PING]},
        "a call, its result, an answer": {"messages": [system, ask, one_call, pong, done], "tools": [PING]},
        "a call and more questions": {"messages": [ask, one_call, pong, done, more], "tools": [PING]},
        "thinking off": {"messages": [user], "extra": {"enable_thinking": False}},
        "documents": {
            "messages": [user],
            "extra": {"documents": [{"title": "A\nB", "text": "x", "n": 1}, {"data": {"text": "y"}}]},
        },
        "a date": {"messages": [user], "extra": {"date_string": "1 Jan 2030", "tools_in_user_message": False}},
        "parts": {"messages": [parts]},
        "no messages": {"messages": []},
        "a message without content": {"messages": [{"role": "user"}]},
    }


def snippets():
    for line in templates_snippets.EXPRESSIONS.replace('"multi\nline"', "").strip("\n").split("\n"):
        if line:
            yield "{{ " + line + " }}"
    for paragraph in templates_snippets.STATEMENTS.strip("\n").split("\n----\n"):
        yield paragraph
    yield "a\r\nb\r{% if true %}\r\nc{% endif %}\r\n"
    yield "a\n\n"
    yield "a\n"
    yield ""


# Results that differ from run to run, because Python prints addresses.
SKIPPED_MARKS = (" at 0x", "<function", "<built-in", "<bound method", "<class", "<jinja2")


def main():
    if len(sys.argv) > 1:
        import gguf

        field = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"]
        if field.contents() != (HERE / "templates/smollm2.jinja").read_text().rstrip("\n"):
            sys.exit("templates/smollm2.jinja is not the template of " + sys.argv[1])
    chats = conversations()
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    renders = []
    for path in sorted((HERE / "templates").glob("*.jinja")):
        source = path.read_text()
        for name, chat in chats.items():
            for prompt in (False, True):
                inputs = {k: v for k, v in chat.items() if k != "extra"}
                inputs.update(chat.get("extra", {}))
                inputs.update(tokens, add_generation_prompt=prompt)
                renders.append(
                    {
                        "template": path.name,
                        "conversation": name,
                        "add_generation_prompt": prompt,
                        **render(source, inputs),
                    }
                )
    small = []
    for source in snippets():
        result = render(source, templates_snippets.CONTEXT)
        if any(mark in result.get("text", "") for mark in SKIPPED_MARKS):
            continue
        if "error" in result and not result["raised"]:
            result = {"error": ""}  # that it fails is what counts, not in which words
        small.append({"source": source, **result})
    fixtures = {
        "jinja2": importlib.metadata.version("jinja2"),
        "now": NOW,
        "tokens": tokens,
        "conversations": chats,
        "context": templates_snippets.CONTEXT,
        "renders": [
            {k: ("" if k == "error" and not r["raised"] else v) for k, v in r.items()} for r in renders
        ],
        "snippets": small,
    }
    json.dump(fixtures, sys.stdout, ensure_ascii=False, indent=0)
    sys.stdout.write("\n")
    print(f"{len(renders)} renders, {len(small)} snippets", file=sys.stderr)


if __name__ == "__main__":
    main()
