// Chat templates against jinja2: every template, conversation and snippet of
// tests/oracle/templates_fixtures.json, which tests/oracle/templates_make_fixtures.py made with
// PyPI jinja2 set up as transformers does.

#include "kvasir/text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <string>

#include "kvasir/base/json.h"
#include "kvasir/base/mapped_file.h"

namespace kvasir {
namespace {

constexpr size_t kFileBytesMax = 16 << 20;

std::string ReadOracle(const std::string& name) {
  Result<std::string> text = ReadFile(KVASIR_SOURCE_DIR "/tests/oracle/" + name, kFileBytesMax);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : std::string();
}

const Json& Fixtures() {
  static const Json fixtures = [] {
    Result<Json> json = ParseJson(ReadOracle("templates_fixtures.json"));
    EXPECT_TRUE(json.ok()) << json.status().message();
    return json.ok() ? *json : Json::object();
  }();
  return fixtures;
}

Result<std::string> RenderSource(const std::string& source, const ChatInputs& inputs,
                                 const ChatTemplateLimits& limits = {}) {
  KVASIR_ASSIGN_OR_RETURN(const ChatTemplate chat_template, ChatTemplate::Parse(source, limits));
  return chat_template.Render(inputs);
}

// `expected` holds "text", or "error": empty when only that it fails counts, else what
// raise_exception() was called with.
void ExpectRendered(const Json& expected, const Result<std::string>& actual,
                    const std::string& what) {
  if (expected.contains("text")) {
    ASSERT_TRUE(actual.ok()) << what << ": " << actual.status().message();
    EXPECT_EQ(*actual, expected["text"].get<std::string>()) << what;
    return;
  }
  ASSERT_FALSE(actual.ok()) << what << " rendered " << *actual;
  const std::string error = expected["error"].get<std::string>();
  if (error.empty()) return;
  EXPECT_EQ("TemplateError: " + actual.status().message(), error) << what;
}

TEST(ChatTemplateOracle, ConversationsOfAllFamilies) {
  const Json& fixtures = Fixtures();
  ASSERT_GT(fixtures["renders"].size(), 300u);
  for (const Json& render : fixtures["renders"]) {
    const std::string name = render["template"].get<std::string>();
    const std::string conversation_name = render["conversation"].get<std::string>();
    const Json& conversation = fixtures["conversations"][conversation_name];
    ChatInputs inputs;
    inputs.messages = conversation["messages"];
    if (conversation.contains("tools")) inputs.tools = conversation["tools"];
    if (conversation.contains("extra")) inputs.extra = conversation["extra"];
    inputs.extra["strftime_now"] = fixtures["now"];
    inputs.add_generation_prompt = render["add_generation_prompt"].get<bool>();
    inputs.bos_token = fixtures["tokens"]["bos_token"].get<std::string>();
    inputs.eos_token = fixtures["tokens"]["eos_token"].get<std::string>();
    ExpectRendered(render, RenderSource(ReadOracle("templates/" + name), inputs),
                   name + ", " + conversation_name);
  }
}

TEST(ChatTemplateOracle, Snippets) {
  const Json& fixtures = Fixtures();
  ASSERT_GT(fixtures["snippets"].size(), 800u);
  ChatInputs inputs;
  inputs.extra = fixtures["context"];
  inputs.extra["strftime_now"] = fixtures["now"];
  for (const Json& snippet : fixtures["snippets"]) {
    const std::string source = snippet["source"].get<std::string>();
    ExpectRendered(snippet, RenderSource(source, inputs), source);
  }
}

TEST(ChatTemplate, NamedInputsWinOverExtra) {
  ChatInputs inputs;
  inputs.bos_token = "<s>";
  inputs.extra = {{"bos_token", "no"}, {"messages", "no"}, {"documents", "yes"}};
  const Result<std::string> text =
      RenderSource("{{ bos_token }}{{ messages }}{{ documents }}", inputs);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "<s>[]yes");
}

TEST(ChatTemplate, TellsTheLocalTime) {
  const std::time_t before = std::time(nullptr);
  const Result<std::string> text = RenderSource("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", {});
  ASSERT_TRUE(text.ok());
  // One of the seconds since `before`, as the C library writes it.
  bool found = false;
  for (std::time_t second = before; second <= std::time(nullptr); ++second) {
    std::tm local = {};
    localtime_r(&second, &local);
    char expected[64];
    std::strftime(expected, sizeof(expected), "%Y-%m-%d %H:%M:%S", &local);
    found = found || *text == expected;
  }
  EXPECT_TRUE(found) << *text;
  ChatInputs inputs;
  for (const Json& wrong : {Json("today"), Json("2024-07-26T12:00:00 "), Json(5)}) {
    inputs.extra["strftime_now"] = wrong;
    EXPECT_FALSE(RenderSource("", inputs).ok()) << wrong;
  }
}

TEST(ChatTemplate, RendersManyTimesTheSame) {
  const Result<ChatTemplate> chat_template = ChatTemplate::Parse(
      "{% set ns = namespace(n=0) %}{% for m in messages %}"
      "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}");
  ASSERT_TRUE(chat_template.ok());
  ChatInputs inputs;
  inputs.messages = {1, 2, 3};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*chat_template->Render(inputs), "3");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  const auto message = [](const std::string& source) {
    return RenderSource(source, {}).status().message();
  };
  EXPECT_EQ(message("a\n{{ x.y }}"), "line 2: 'x' is undefined");
  EXPECT_EQ(message("a\n\n{{ messages.x.y }}"), "line 3: 'list object' has no attribute 'x'");
  EXPECT_EQ(message("{{ raise_exception('roles must alternate') }}"), "roles must alternate");
  EXPECT_EQ(message("\n{% frobnicate %}"), "line 2: unknown tag 'frobnicate'");
  EXPECT_EQ(message("{{ 'x'|frobnicate }}"), "line 1: No filter named 'frobnicate'");
  EXPECT_EQ(message("{{ 1 + }}"), "line 1: expected an expression, got '}}'");
  EXPECT_EQ(message("\n{% if x %}\nabc"), "line 2: the tag 'if' is not closed");
  EXPECT_NE(message("{{ messages.append(1) }}").find("must not change values"), std::string::npos);
}

TEST(ChatTemplate, RefusesWhatReachesBeyondTheTemplate) {
  for (const std::string tag : {"include 'a'", "import 'a' as b", "from 'a' import b",
                                "extends 'a'", "block a", "autoescape true"}) {
    const Status status = ChatTemplate::Parse("{% " + tag + " %}").status();
    EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << tag;
    EXPECT_NE(status.message().find(tag.substr(0, tag.find(' '))), std::string::npos) << tag;
  }
  EXPECT_EQ(ChatTemplate::Parse("{% for x in y recursive %}{% endfor %}").status().code(),
            StatusCode::kUnimplemented);
}

// Templates that would run for ever, fill the memory or overflow the stack.
TEST(ChatTemplateLimits, HostileTemplatesAreStopped) {
  const std::string hostile[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{{ 'x' * 1000000000 }}",
      "{{ [0] * 1000000000 }}",
      "{{ 'x'.center(1000000000) }}",
      "{{ '%1000000000d' % 1 }}",
      "{{ 'x'|indent(1000000000) }}",
      "{{ [1]|tojson(indent=1000000000) }}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}"
      "{% endfor %}",
      "{% set ns = namespace(s='xx') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('x', "
      "ns.s)"
      " %}{% endfor %}",
      "{% set ns = namespace(s='xx') %}{% for i in range(100) %}{% set ns.s = ns.s.join(ns.s) %}"
      "{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}"
      "{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}"
      "{{ ns.l|tojson }}",
      "{% set ns = namespace(a=1, b=1) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}"
      "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
      "%}",
      "{% set ns = namespace(g=[1]) %}{% for i in range(99999) %}{% set ns.g = ns.g|map('string') "
      "%}"
      "{% endfor %}{{ ns.g|list }}",
      "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(x) %}{{ m(x + 1) }}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}",
      "{% macro m(x) %}{% if x %}{{ m(x - 1) }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
      "{{ range(99999)|list|sort|map('string')|join|reverse|list|sort|unique|list|length }}",
  };
  ChatTemplateLimits limits;
  limits.output_bytes_max = 16 << 20;
  limits.steps_max = 2'000'000;
  for (const std::string& source : hostile) {
    const auto begin = std::chrono::steady_clock::now();
    const Result<std::string> text = RenderSource(source, {}, limits);
    ASSERT_FALSE(text.ok()) << source;
    // Formats and ranges have bounds of their own.
    EXPECT_TRUE(text.status().code() == StatusCode::kResourceExhausted ||
                text.status().code() == StatusCode::kInvalidArgument)
        << source << ": " << text.status().message();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << source;
  }
}

TEST(ChatTemplateLimits, DeepNestingIsRefusedWhileParsing) {
  constexpr size_t kDepth = 20'000;
  const auto repeat = [](const std::string& text, size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += text;
    return out;
  };
  const std::string opens[] = {"(",    "[",           "{1:",          "not ", "-",    "f(",  "x[",
                               "x|d(", "[1] is in [", "1 if 1 else ", "(1, ", "x[1:", "x[::"};
  for (const std::string& open : opens) {
    const Status status = ChatTemplate::Parse("{{ " + repeat(open, kDepth)).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << open << ": " << status.message();
  }
  for (const std::string tag : {"if 1", "for x in y", "set x", "macro m()", "filter upper", "with",
                                "call f()", "generation"}) {
    const Status status = ChatTemplate::Parse(repeat("{% " + tag + " %}", kDepth)).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << tag << ": " << status.message();
  }
}

TEST(ChatTemplateLimits, LongChainsAreNotDeep) {
  const auto chain = [](const std::string& first, const std::string& link) {
    std::string source = "{{ " + first;
    for (int i = 0; i < 5000; ++i) source += link;
    return source + " }}";
  };
  EXPECT_EQ(*RenderSource(chain("0", " + 1"), {}), "5000");
  EXPECT_EQ(*RenderSource(chain("'a'", "|trim"), {}), "a");
  EXPECT_EQ(*RenderSource(chain("'a'", ".strip()"), {}), "a");
  EXPECT_EQ(*RenderSource(chain("'a'", "[0]"), {}), "a");
  EXPECT_EQ(*RenderSource(chain("1", " and 1"), {}), "1");
  EXPECT_EQ(*RenderSource(chain("1", " if 1"), {}), "1");
  EXPECT_EQ(RenderSource(chain("''", " ~ 'x'"), {})->size(), 5000u);
  std::string branches = "{% if 0 %}";
  for (int i = 0; i < 5000; ++i) branches += "{% elif 0 %}";
  EXPECT_EQ(*RenderSource(branches + "{% else %}x{% endif %}", {}), "x");
}

TEST(ChatTemplateLimits, EachLimitIsNamed) {
  ChatTemplateLimits limits;
  limits.source_bytes_max = 5;
  EXPECT_NE(ChatTemplate::Parse("123456", limits).status().message().find("at most 5"),
            std::string::npos);
  limits = {};
  limits.output_bytes_max = 10;
  EXPECT_TRUE(RenderSource("0123456789", {}, limits).ok());
  EXPECT_NE(RenderSource("01234567890", {}, limits).status().message().find("10 bytes"),
            std::string::npos);
  limits = {};
  limits.steps_max = 100;
  EXPECT_NE(RenderSource("{% for x in range(100) %}{% endfor %}", {}, limits)
                .status()
                .message()
                .find("100 steps"),
            std::string::npos);
  limits = {};
  limits.depth_max = 10;
  EXPECT_TRUE(RenderSource("{{ [[[1]]] }}", {}, limits).ok());
  EXPECT_NE(RenderSource("{{ [[[[[[[[[[[1]]]]]]]]]]] }}", {}, limits).status().message().find("10"),
            std::string::npos);
  Json deep = 1;
  for (int i = 0; i < 20; ++i) deep = Json::array({deep});
  ChatInputs inputs;
  inputs.messages = deep;
  EXPECT_EQ(RenderSource("", inputs, limits).status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace kvasir
