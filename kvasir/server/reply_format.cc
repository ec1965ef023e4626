#include "kvasir/server/reply_format.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kvasir/base/json.h"

namespace kvasir {

namespace {

// JSON has no infinity: what cannot be is as unlikely as OpenAI's API says it.
constexpr float kLogprobMin = -9999;

Json LogprobNumber(float logprob) {
  return std::isfinite(logprob) ? std::max(logprob, kLogprobMin) : kLogprobMin;
}

Json UsageJson(const ReplyUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details",
           {{"cached_tokens", usage.cached_tokens},
            {"disk_tokens", usage.disk_tokens},
            {"cache_write_tokens", usage.cache_write_tokens}}}};
}

Json TokenIds(const std::vector<ShownToken>& tokens) {
  Json ids = Json::array();
  for (const ShownToken& token : tokens) ids.push_back(token.id);
  return ids;
}

class JsonReplyFormat : public ReplyFormat {
 public:
  JsonReplyFormat(ReplyOptions options, const Tokenizer& tokenizer, std::string object,
                  std::string chunk_object, std::string id_prefix)
      : options_(std::move(options)),
        tokenizer_(tokenizer),
        object_(std::move(object)),
        chunk_object_(std::move(chunk_object)),
        id_(std::move(id_prefix) + options_.request_id) {}

  std::string UsageChunk(const ReplyUsage& usage) const override {
    Json chunk = Head(chunk_object_);
    chunk["choices"] = Json::array();
    chunk["usage"] = UsageJson(usage);
    return DumpJson(chunk);
  }

  std::string LastChunk(size_t choice, std::string_view finish_reason) const override {
    return Chunk(EmptyChoice(choice, Json(finish_reason)));
  }

  std::string Whole(const std::vector<ReplyChoice>& choices,
                    const ReplyUsage& usage) const override {
    Json reply = Head(object_);
    reply["choices"] = Json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      Json choice = WholeChoice(i, choices[i]);
      if (options_.token_ids) choice["token_ids"] = TokenIds(choices[i].tokens);
      reply["choices"].push_back(std::move(choice));
    }
    reply["usage"] = UsageJson(usage);
    return DumpJson(reply);
  }

 protected:
  virtual Json WholeChoice(size_t index, const ReplyChoice& choice) const = 0;
  // A choice of a chunk, without text.
  virtual Json EmptyChoice(size_t index, Json finish_reason) const = 0;

  Json Head(const std::string& object) const {
    return {{"id", id_},
            {"object", object},
            {"created", options_.created_s},
            {"model", options_.model}};
  }

  std::string Chunk(Json choice) const {
    Json chunk = Head(chunk_object_);
    chunk["choices"] = Json::array({std::move(choice)});
    if (options_.include_usage) chunk["usage"] = nullptr;
    return DumpJson(chunk);
  }

  std::string TokenText(TokenId id) const { return ReplaceIllFormed(tokenizer_.TokenBytes(id)); }

  const ReplyOptions options_;
  const Tokenizer& tokenizer_;

 private:
  const std::string object_;
  const std::string chunk_object_;
  const std::string id_;
};

class ChatFormat final : public JsonReplyFormat {
 public:
  ChatFormat(ReplyOptions options, const Tokenizer& tokenizer)
      : JsonReplyFormat(std::move(options), tokenizer, "chat.completion", "chat.completion.chunk",
                        "chatcmpl-") {}

  std::string FirstChunk(size_t choice) const override {
    Json begun = EmptyChoice(choice, nullptr);
    begun["delta"] = {{"role", "assistant"}, {"content", ""}};
    return Chunk(std::move(begun));
  }

  std::string TextChunk(size_t choice, const AnswerPiece& piece, size_t) const override {
    Json going = EmptyChoice(choice, nullptr);
    going["delta"]["content"] = piece.text;
    going["logprobs"] = Logprobs(piece.tokens);
    if (options_.token_ids) going["token_ids"] = TokenIds(piece.tokens);
    return Chunk(std::move(going));
  }

 protected:
  Json EmptyChoice(size_t index, Json finish_reason) const override {
    return {{"index", index},
            {"delta", Json::object()},
            {"logprobs", nullptr},
            {"finish_reason", std::move(finish_reason)}};
  }

  Json WholeChoice(size_t index, const ReplyChoice& choice) const override {
    return {{"index", index},
            {"message", {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}}},
            {"logprobs", Logprobs(choice.tokens)},
            {"finish_reason", choice.finish_reason}};
  }

 private:
  Json Entry(TokenId id, float logprob) const {
    Json bytes = Json::array();
    for (const char c : tokenizer_.TokenBytes(id)) bytes.push_back(static_cast<unsigned char>(c));
    return {
        {"token", TokenText(id)}, {"logprob", LogprobNumber(logprob)}, {"bytes", std::move(bytes)}};
  }

  Json Logprobs(const std::vector<ShownToken>& tokens) const {
    if (!options_.logprobs) return nullptr;
    Json content = Json::array();
    for (const ShownToken& token : tokens) {
      Json entry = Entry(token.id, token.logprobs.logprob);
      entry["top_logprobs"] = Json::array();
      for (const TokenLogprob& top : token.logprobs.top) {
        entry["top_logprobs"].push_back(Entry(top.token, top.logprob));
      }
      content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
};

class CompletionFormat final : public JsonReplyFormat {
 public:
  CompletionFormat(ReplyOptions options, const Tokenizer& tokenizer)
      : JsonReplyFormat(std::move(options), tokenizer, "text_completion", "text_completion",
                        "cmpl-") {}

  std::string FirstChunk(size_t) const override { return {}; }

  std::string TextChunk(size_t choice, const AnswerPiece& piece,
                        size_t offset_chars) const override {
    Json going = EmptyChoice(choice, nullptr);
    going["text"] = piece.text;
    going["logprobs"] = Logprobs(piece.tokens, offset_chars);
    if (options_.token_ids) going["token_ids"] = TokenIds(piece.tokens);
    return Chunk(std::move(going));
  }

 protected:
  Json EmptyChoice(size_t index, Json finish_reason) const override {
    return {{"index", index},
            {"text", ""},
            {"logprobs", nullptr},
            {"finish_reason", std::move(finish_reason)}};
  }

  Json WholeChoice(size_t index, const ReplyChoice& choice) const override {
    return {{"index", index},
            {"text", choice.text},
            {"logprobs", Logprobs(choice.tokens, 0)},
            {"finish_reason", choice.finish_reason}};
  }

 private:
  Json Logprobs(const std::vector<ShownToken>& tokens, size_t offset_chars) const {
    if (!options_.logprobs) return nullptr;
    Json texts = Json::array(), logprobs = Json::array(), tops = Json::array(),
         offsets = Json::array();
    for (const ShownToken& token : tokens) {
      const std::string text = TokenText(token.id);
      texts.push_back(text);
      offsets.push_back(offset_chars);
      offset_chars += CountCharacters(text);
      // A prompt's first token has none: nothing stands before it.
      logprobs.push_back(token.has_logprobs ? LogprobNumber(token.logprobs.logprob)
                                            : Json(nullptr));
      Json top_by_text = token.has_logprobs ? Json::object() : Json(nullptr);
      for (const TokenLogprob& top : token.logprobs.top) {
        const std::string top_text = TokenText(top.token);
        if (!top_by_text.contains(top_text)) top_by_text[top_text] = LogprobNumber(top.logprob);
      }
      tops.push_back(std::move(top_by_text));
    }
    return {{"tokens", std::move(texts)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }
};

}  // namespace

std::unique_ptr<ReplyFormat> ReplyFormat::Chat(ReplyOptions options, const Tokenizer& tokenizer) {
  return std::make_unique<ChatFormat>(std::move(options), tokenizer);
}

std::unique_ptr<ReplyFormat> ReplyFormat::Completion(ReplyOptions options,
                                                     const Tokenizer& tokenizer) {
  return std::make_unique<CompletionFormat>(std::move(options), tokenizer);
}

std::string SseEvent(std::string_view text) {
  std::string event = "data: ";
  event.append(text).append("\n\n");
  return event;
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace kvasir
