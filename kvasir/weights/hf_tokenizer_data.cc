#include "kvasir/weights/hf_tokenizer_data.h"

#include <filesystem>
#include <map>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/mapped_file.h"
#include "kvasir/weights/end_of_generation.h"
#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

namespace fs = std::filesystem;

constexpr size_t kTokenizerBytesMax = 256 << 20;
constexpr size_t kSmallFileBytesMax = 16 << 20;
constexpr size_t kNamedTemplatesMax = 64;

// The file's text, empty when it does not exist.
Result<std::string> ReadOptional(const std::string& directory, const std::string& name,
                                 size_t byte_count_max) {
  const std::string path = directory + "/" + name;
  std::error_code error;
  if (!fs::exists(path, error)) return std::string();
  if (!fs::is_regular_file(path, error)) return InvalidArgument(name + " is not a regular file");
  return ReadFile(path, byte_count_max);
}

// The file as a JSON object, an empty object when it does not exist.
Result<Json> ReadOptionalObject(const std::string& name, const std::string& text) {
  if (text.empty()) return Json::object();
  Result<Json> json = ParseJson(text, {.depth_max = 64, .byte_count_max = kSmallFileBytesMax});
  if (!json.ok()) return json.status().WithContext(name);
  if (!json->is_object()) return InvalidArgument(name + " is not a JSON object");
  return json;
}

struct AddedToken {
  TokenId id;
  bool special;
};
using AddedTokens = std::map<std::string, AddedToken>;

// added_tokens of tokenizer.json: [{"id": 2, "content": "<|im_end|>", "special": true, ...}, ...]
Result<AddedTokens> ReadAddedTokens(std::string_view tokenizer_json, uint32_t vocab_size) {
  AddedTokens tokens;
  const std::string_view text = FindJsonMember(tokenizer_json, "added_tokens");
  if (text.empty()) return tokens;
  Result<Json> list = ParseJson(text);
  if (!list.ok()) return list.status().WithContext("added_tokens in tokenizer.json");
  if (!list->is_array()) return InvalidArgument("added_tokens in tokenizer.json is not an array");
  for (const Json& token : *list) {
    if (!token.is_object() || !token.contains("id") || !token["id"].is_number_unsigned() ||
        !token.contains("content") || !token["content"].is_string()) {
      return InvalidArgument("added_tokens in tokenizer.json has an entry without id or content");
    }
    // Some files add tokens, for example of images, that the language model has no embedding for.
    const uint64_t id = token["id"].get<uint64_t>();
    if (id >= vocab_size) continue;
    const bool special =
        token.contains("special") && token["special"].is_boolean() && token["special"].get<bool>();
    tokens[token["content"].get<std::string>()] = {static_cast<TokenId>(id), special};
  }
  return tokens;
}

// tokenizer_config.json names a special token by its text, or by an object that holds it.
TokenId NamedToken(const Json& tokenizer_config, const std::string& key,
                   const AddedTokens& tokens) {
  const auto it = tokenizer_config.find(key);
  if (it == tokenizer_config.end()) return kNoToken;
  const Json* text = &*it;
  if (text->is_object()) {
    const auto content = text->find("content");
    if (content == text->end()) return kNoToken;
    text = &*content;
  }
  if (!text->is_string()) return kNoToken;
  const auto token = tokens.find(text->get<std::string>());
  return token == tokens.end() ? kNoToken : token->second.id;
}

// The ids of a field that holds one or a list of them. Those outside the vocabulary are ignored, as
// models with a shortened embedding have them.
std::vector<TokenId> TokenIds(const Json* json, uint32_t vocab_size) {
  std::vector<TokenId> ids;
  const auto add = [&](const Json& id) {
    if (id.is_number_unsigned() && id.get<uint64_t>() < vocab_size) {
      ids.push_back(static_cast<TokenId>(id.get<uint64_t>()));
    }
  };
  if (json == nullptr) return ids;
  if (!json->is_array()) {
    add(*json);
  } else {
    for (const Json& id : *json) add(id);
  }
  return ids;
}

const Json* Member(const Json& object, const std::string& key) {
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

// Whether tokenizer.json's post-processor puts the token `text` before (or after) a single
// sequence.
bool PostProcessorAdds(const Json& post_processor, const std::string& text, bool before) {
  if (!post_processor.is_object()) return false;
  if (const Json* list = Member(post_processor, "processors");
      list != nullptr && list->is_array()) {
    for (const Json& inner : *list) {
      if (PostProcessorAdds(inner, text, before)) return true;
    }
    return false;
  }
  const Json* single = Member(post_processor, "single");
  if (single == nullptr || !single->is_array()) return false;
  bool behind_sequence = false;
  for (const Json& piece : *single) {
    if (!piece.is_object()) continue;
    if (piece.contains("Sequence")) behind_sequence = true;
    const Json* special = Member(piece, "SpecialToken");
    const Json* id = special != nullptr && special->is_object() ? Member(*special, "id") : nullptr;
    if (id != nullptr && *id == text && before != behind_sequence) return true;
  }
  return false;
}

Status ReadChatTemplates(const std::string& directory, const Json& tokenizer_config,
                         TokenizerData* data) {
  if (const Json* json = Member(tokenizer_config, "chat_template"); json != nullptr) {
    if (json->is_string()) data->chat_template = json->get<std::string>();
    for (const Json& entry : json->is_array() ? *json : Json::array()) {
      if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
          !entry.contains("template") || !entry["template"].is_string()) {
        return InvalidArgument(
            "chat_template in tokenizer_config.json has an entry without name "
            "or template");
      }
      data->named_chat_templates[entry["name"].get<std::string>()] =
          entry["template"].get<std::string>();
    }
  }
  KVASIR_ASSIGN_OR_RETURN(std::string text,
                          ReadOptional(directory, "chat_template.jinja", kSmallFileBytesMax));
  if (!text.empty()) data->chat_template = std::move(text);
  std::error_code error;
  for (const auto& entry :
       fs::directory_iterator(directory + "/additional_chat_templates", error)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".jinja" || data->named_chat_templates.size() >= kNamedTemplatesMax) {
      continue;
    }
    KVASIR_ASSIGN_OR_RETURN(
        data->named_chat_templates[path.stem().string()],
        ReadOptional(path.parent_path().string(), path.filename().string(), kSmallFileBytesMax));
  }
  const auto named = data->named_chat_templates.find("default");
  if (data->chat_template.empty() && named != data->named_chat_templates.end()) {
    data->chat_template = named->second;
    data->named_chat_templates.erase(named);
  }
  return OkStatus();
}

TokenId FirstOr(TokenId preferred, const std::vector<TokenId>& ids) {
  if (preferred != kNoToken) return preferred;
  return ids.empty() ? kNoToken : ids.front();
}

// Decides add_bos and add_eos: the post-processor is what `tokenizers` runs; the flags of
// tokenizer_config.json count where there is none.
Status ReadAddedEnds(const Json& tokenizer_config, const AddedTokens& tokens, TokenizerData* data) {
  const auto flag = [&](const std::string& key) {
    const Json* json = Member(tokenizer_config, key);
    return json != nullptr && json->is_boolean() && json->get<bool>();
  };
  data->add_bos = flag("add_bos_token");
  data->add_eos = flag("add_eos_token");
  const std::string_view text = FindJsonMember(data->tokenizer_json, "post_processor");
  if (!text.empty() && text != "null") {
    Result<Json> processor = ParseJson(text);
    if (!processor.ok()) return processor.status().WithContext("post_processor in tokenizer.json");
    for (const auto& [content, token] : tokens) {
      if (token.id == data->bos) data->add_bos = PostProcessorAdds(*processor, content, true);
      if (token.id == data->eos) data->add_eos = PostProcessorAdds(*processor, content, false);
    }
  }
  data->add_bos = data->add_bos && data->bos != kNoToken;
  data->add_eos = data->add_eos && data->eos != kNoToken;
  return OkStatus();
}

}  // namespace

std::string_view FindJsonMember(std::string_view text, std::string_view key) {
  int depth = 0;
  bool after_key = false;  // the member's value follows
  size_t value_begin = 0;  // of the member, 0 before it is found
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const size_t begin = i + 1;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      if (i >= text.size()) return {};
      const size_t colon = text.find_first_not_of(" \t\r\n", i + 1);
      after_key = depth == 1 && value_begin == 0 && colon != std::string_view::npos &&
                  text[colon] == ':' && text.substr(begin, i - begin) == key;
      if (after_key) value_begin = i = colon;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']' || c == ',') {
      const bool closes = c != ',';
      if (value_begin != 0 && depth == 1) {
        const size_t begin = text.find_first_not_of(" \t\r\n", value_begin + 1);
        const size_t end = text.find_last_not_of(" \t\r\n", i - 1);
        return begin > end ? std::string_view() : text.substr(begin, end + 1 - begin);
      }
      if (closes) --depth;
    }
  }
  return {};
}

Result<TokenizerData> ReadHfTokenizerData(const std::string& directory, const HfConfig& config,
                                          uint32_t vocab_size) {
  TokenizerData data;
  KVASIR_ASSIGN_OR_RETURN(data.tokenizer_json,
                          ReadOptional(directory, "tokenizer.json", kTokenizerBytesMax));
  KVASIR_ASSIGN_OR_RETURN(data.tokenizer_config_json,
                          ReadOptional(directory, "tokenizer_config.json", kSmallFileBytesMax));
  KVASIR_ASSIGN_OR_RETURN(const std::string generation_text,
                          ReadOptional(directory, "generation_config.json", kSmallFileBytesMax));
  KVASIR_ASSIGN_OR_RETURN(const Json tokenizer_config,
                          ReadOptionalObject("tokenizer_config.json", data.tokenizer_config_json));
  KVASIR_ASSIGN_OR_RETURN(const Json generation,
                          ReadOptionalObject("generation_config.json", generation_text));
  KVASIR_ASSIGN_OR_RETURN(const AddedTokens tokens,
                          ReadAddedTokens(data.tokenizer_json, vocab_size));

  const auto id = [&](const std::string& name) {
    return FirstOr(NamedToken(tokenizer_config, name, tokens),
                   TokenIds(config.FindJson(name + "_id"), vocab_size));
  };
  data.bos = id("bos_token");
  data.eos = id("eos_token");
  data.unk = id("unk_token");
  data.pad = id("pad_token");
  KVASIR_RETURN_IF_ERROR(ReadAddedEnds(tokenizer_config, tokens, &data));
  KVASIR_RETURN_IF_ERROR(ReadChatTemplates(directory, tokenizer_config, &data));

  EndOfGeneration ends(data.chat_template);
  ends.Add(data.eos);
  for (const Json* list : {Member(generation, "eos_token_id"), config.FindJson("eos_token_id")}) {
    for (const TokenId end : TokenIds(list, vocab_size)) ends.Add(end);
  }
  for (const auto& [content, token] : tokens) ends.Consider(content, token.id, token.special);
  data.end_of_generation = ends.ids();
  return data;
}

}  // namespace kvasir
