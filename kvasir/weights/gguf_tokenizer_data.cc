#include "kvasir/weights/gguf_tokenizer_data.h"

#include <algorithm>

#include "kvasir/weights/end_of_generation.h"
#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

// An id, kNoToken when absent. Converters write 2^32 - 1 for "none".
TokenId ReadId(FieldReader& reader, std::string_view key, size_t token_count) {
  constexpr uint32_t kNone = 0xFFFFFFFF;
  const uint32_t id = reader.Uint(key, {0, kNone}, kNone);
  if (id == kNone) return kNoToken;
  if (id >= token_count) {
    reader.Fail(InvalidArgument("tokenizer.ggml." + std::string(key) + " is " + std::to_string(id) +
                                ", but the vocabulary has " + std::to_string(token_count) +
                                " tokens"));
    return kNoToken;
  }
  return static_cast<TokenId>(id);
}

Status ReadTypes(const GgufFile& file, TokenizerData* data) {
  KVASIR_ASSIGN_OR_RETURN(const std::vector<int32_t> types, file.Ints("tokenizer.ggml.token_type"));
  for (const int32_t type : types) {
    if (type < 0 || type > static_cast<int32_t>(TokenType::kByte)) {
      return InvalidArgument("tokenizer.ggml.token_type has the type " + std::to_string(type) +
                             ", allowed are 0 to 6");
    }
    // 0 is "undefined" in ggml: nothing special about the token.
    data->types.push_back(type == 0 ? TokenType::kNormal : static_cast<TokenType>(type));
  }
  return OkStatus();
}

Status CheckCount(std::string_view key, size_t count, size_t token_count) {
  if (count == 0 || count == token_count) return OkStatus();
  return InvalidArgument("tokenizer.ggml." + std::string(key) + " has " + std::to_string(count) +
                         " entries for " + std::to_string(token_count) + " tokens");
}

void ReadChatTemplates(const GgufFile& file, TokenizerData* data) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const auto& [key, value] : file.metadata()) {
    const auto* text = std::get_if<std::string_view>(&value);
    if (text == nullptr || !key.starts_with(kKey)) continue;
    const std::string_view rest = std::string_view(key).substr(kKey.size());
    if (rest.empty()) data->chat_template = *text;
    if (rest.starts_with('.')) data->named_chat_templates[std::string(rest.substr(1))] = *text;
  }
}

// Whether the kind of tokenizer puts `bos` first when the file does not say.
bool AddsBosByDefault(const TokenizerData& data) {
  if (data.model == "llama") return true;
  return data.pre == "llama-bpe" || data.pre == "llama3" || data.pre == "llama-v3" ||
         data.pre == "tekken";
}

void FindEndOfGeneration(TokenId eot, TokenId eom, TokenizerData* data) {
  EndOfGeneration ends(data->chat_template);
  ends.Add(data->eos);
  ends.Add(eot);
  ends.Add(eom);
  for (size_t id = 0; id < data->tokens.size(); ++id) {
    const TokenType type = data->types.empty() ? TokenType::kNormal : data->types[id];
    ends.Consider(data->tokens[id], static_cast<TokenId>(id), type == TokenType::kControl);
  }
  data->end_of_generation = ends.ids();
}

}  // namespace

Result<TokenizerData> ReadGgufTokenizerData(const GgufFile& file, uint32_t vocab_size) {
  TokenizerData data;
  KVASIR_ASSIGN_OR_RETURN(data.tokens, file.Strings("tokenizer.ggml.tokens"));
  if (data.tokens.empty()) return data;
  const size_t count = data.tokens.size();
  if (count > vocab_size) {
    return InvalidArgument("tokenizer.ggml.tokens has " + std::to_string(count) +
                           " entries, but the model's vocabulary has " +
                           std::to_string(vocab_size));
  }
  KVASIR_ASSIGN_OR_RETURN(data.scores, file.Floats("tokenizer.ggml.scores"));
  KVASIR_ASSIGN_OR_RETURN(data.merges, file.Strings("tokenizer.ggml.merges"));
  KVASIR_RETURN_IF_ERROR(ReadTypes(file, &data));
  KVASIR_RETURN_IF_ERROR(CheckCount("scores", data.scores.size(), count));
  KVASIR_RETURN_IF_ERROR(CheckCount("token_type", data.types.size(), count));

  FieldReader reader(file, "tokenizer.ggml.");
  data.model = reader.String("model", "");
  data.pre = reader.String("pre", "default");
  data.bos = ReadId(reader, "bos_token_id", count);
  data.eos = ReadId(reader, "eos_token_id", count);
  data.unk = ReadId(reader, "unknown_token_id", count);
  data.pad = ReadId(reader, "padding_token_id", count);
  const TokenId eot = ReadId(reader, "eot_token_id", count);
  const TokenId eom = ReadId(reader, "eom_token_id", count);
  data.add_bos = reader.Bool("add_bos_token", AddsBosByDefault(data)) && data.bos != kNoToken;
  data.add_eos = reader.Bool("add_eos_token", data.model == "t5") && data.eos != kNoToken;
  data.add_space_prefix = reader.Bool("add_space_prefix", true);
  KVASIR_RETURN_IF_ERROR(reader.status());
  ReadChatTemplates(file, &data);
  FindEndOfGeneration(eot, eom, &data);
  return data;
}

}  // namespace kvasir
