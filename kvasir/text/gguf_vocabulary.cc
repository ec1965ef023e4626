#include "kvasir/text/gguf_vocabulary.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kvasir/text/byte_alphabet.h"
#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_json_steps.h"
#include "kvasir/text/tokenizer_json_value.h"

namespace kvasir {

namespace {

// What tells the pre-tokenizers apart: digits in runs of several lengths, contractions in both
// cases, camel case, white space of all kinds, several scripts, marks, what NFC composes, code.
constexpr std::string_view kProbe =
    "Hello world, it's 7 or 42 o'clock; I'LL pay 1234567.89 (or 100000)!\n\n"
    "  def camelCaseName(x_1):\treturn [x_1 ** 2 for _ in range(0x1F)]  # done\r\n"
    "a 1  22   333\t4 \n 5  x https://example.org/a?b=c&d=%20e   \n\n\n   \"Quoted\" \xE2\x80\x94 "
    "\xE2\x80\x9Cso\xE2\x80\x9D"
    " na\xC3\xAFve caf\xC3\xA9 cafe\xCC\x81 Stra\xC3\x9F"
    "e \xC3\x89t\xC3\xA9 2\xC2\xBD \xE2\x82\xAC"
    "5 \xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xD0\xBC\xD0\xB8\xD1\x80 "
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C \xE3\x81\x93\xE3\x82\x93"
    "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 "
    "\xD9\x85\xD8\xB1\xD8\xAD\xD8\xA8\xD8\xA7 \xD9\xA1\xD9\xA2\xD9\xA3 \xF0\x9F\x98\x80\xF0\x9F"
    "\x91\x8D\xF0\x9F\x8F\xBD !!!??? ... a/b\\c <|x|> 'tis don't DON'T we've ";

// U+2581: SentencePiece writes a space so.
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// One name of tokenizer.ggml.pre for each way to cut that is known (named_pre_tokenizer.cc).
constexpr std::string_view kPreTokenizers[] = {"gpt-2", "smollm", "llama-bpe",
                                               "qwen2", "tekken", "gpt-4o"};

std::string UnusedName(size_t id) { return "[PAD" + std::to_string(id) + "]"; }

// tokenizer.json as arrays, as far as the form of the model decides them.
class Converter {
 public:
  Converter(const TokenizerData& data, size_t vocab_size) : vocab_size_(vocab_size), result_(data) {
    result_.tokenizer_json.clear();
    result_.tokenizer_config_json.clear();
    result_.tokens.resize(vocab_size);
    result_.types.assign(vocab_size, TokenType::kUnused);
  }

  Result<TokenizerData> Convert(const JsonValue& root) {
    const JsonValue* model = FindMember(root, "model");
    const JsonValue* vocab = model == nullptr ? nullptr : FindMember(*model, "vocab");
    if (vocab == nullptr) return DataLoss("tokenizer.json: model.vocab is missing");
    JsonPreTokenizer pre;
    if (const JsonValue* json = FindMember(root, "pre_tokenizer"); json != nullptr) {
      KVASIR_RETURN_IF_ERROR(ReadPreTokenizer(*json, pre));
    }
    if (vocab->is_array()) {
      result_.model = "t5";
      AddScoredTokens(*vocab);
    } else {
      result_.model = pre.byte_level ? "gpt2" : "llama";
      for (const auto& [text, id] : vocab->items()) SetToken(ReadTokenId(id), text);
    }
    if (result_.model != "gpt2") MarkSentencePieceTokens(*model);
    MarkAddedTokens(root);
    if (result_.model == "gpt2") {
      AddMerges(*model);
    } else if (result_.model == "llama") {
      ScoreByMerges(*model);
    }
    for (size_t id = 0; id < vocab_size_; ++id) {
      if (result_.types[id] == TokenType::kUnused) result_.tokens[id] = UnusedName(id);
    }
    return std::move(result_);
  }

 private:
  bool IsInside(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < vocab_size_; }

  void SetToken(TokenId id, const std::string& text) {
    if (!IsInside(id) || text.empty()) return;
    result_.tokens[static_cast<size_t>(id)] = text;
    result_.types[static_cast<size_t>(id)] = TokenType::kNormal;
  }

  // REQUIRES nothing of the entries: the tokenizer has been made of them before.
  void AddScoredTokens(const JsonValue& vocab) {
    result_.scores.resize(vocab_size_);
    for (size_t id = 0; id < std::min(vocab.size(), vocab_size_); ++id) {
      SetToken(static_cast<TokenId>(id), vocab[id][0].get<std::string>());
      result_.scores[id] = static_cast<float>(vocab[id][1].get<double>());
    }
  }

  void MarkSentencePieceTokens(const JsonValue& model) {
    const std::string unknown = StringOr(model, "unk_token", "");
    const JsonValue* unknown_id = FindMember(model, "unk_id");
    const TokenId id_given = unknown_id == nullptr ? kNoToken : ReadTokenId(*unknown_id);
    const bool has_bytes = BoolOr(model, "byte_fallback", false);
    for (size_t id = 0; id < vocab_size_; ++id) {
      const std::string& text = result_.tokens[id];
      if (text.empty()) continue;
      if (has_bytes && ParseByteToken(text).has_value()) result_.types[id] = TokenType::kByte;
      if ((!unknown.empty() && text == unknown) || static_cast<TokenId>(id) == id_given) {
        result_.types[id] = TokenType::kUnknown;
        result_.unk = static_cast<TokenId>(id);
      }
    }
  }

  void MarkAddedTokens(const JsonValue& root) {
    const JsonValue* list = FindMember(root, "added_tokens");
    if (list == nullptr || !list->is_array()) return;
    for (const JsonValue& entry : *list) {
      const JsonValue* id_value = FindMember(entry, "id");
      const TokenId id = id_value == nullptr ? kNoToken : ReadTokenId(*id_value);
      if (!IsInside(id)) continue;
      const std::string text = StringOr(entry, "content", "");
      SetToken(id, text);
      TokenType& type = result_.types[static_cast<size_t>(id)];
      const bool is_special = BoolOr(entry, "special", false);
      // The original looks for it before spaces are marked, where it does not occur, and makes it
      // by merges; SentencePiece would cut it out first.
      if (!is_special && result_.model != "gpt2" && text.find(kSpaceMark) != std::string::npos &&
          !BoolOr(entry, "normalized", true)) {
        continue;
      }
      if (id == result_.unk && result_.model != "gpt2") {
        type = TokenType::kUnknown;
      } else {
        type = is_special ? TokenType::kControl : TokenType::kUserDefined;
      }
    }
  }

  // Calls use(left, right) for each merge, best first.
  template <typename Use>
  static void ForEachMerge(const JsonValue& model, const Use& use) {
    const JsonValue* list = FindMember(model, "merges");
    if (list == nullptr || !list->is_array()) return;
    for (const JsonValue& entry : *list) {
      if (entry.is_array()) {
        use(entry[0].get<std::string>(), entry[1].get<std::string>());
        continue;
      }
      const std::string text = entry.get<std::string>();
      const size_t space = text.find(' ');
      use(text.substr(0, space), text.substr(space + 1));
    }
  }

  void AddMerges(const JsonValue& model) {
    ForEachMerge(model, [&](const std::string& left, const std::string& right) {
      result_.merges.push_back(left + " " + right);
    });
  }

  // SentencePiece joins the pair whose token has the best score: the rank of the first merge that
  // makes the token, negated. Tokens that nothing makes come last.
  void ScoreByMerges(const JsonValue& model) {
    std::unordered_map<std::string, float> scores;
    float rank = 0;
    ForEachMerge(model, [&](const std::string& left, const std::string& right) {
      scores.emplace(left + right, -rank);
      rank += 1;
    });
    for (const std::string& token : result_.tokens) {
      const auto it = scores.find(token);
      result_.scores.push_back(it != scores.end() ? it->second : -rank);
    }
  }

  size_t vocab_size_;
  TokenizerData result_;
};

// The candidates that differ in what cannot be read off tokenizer.json.
std::vector<TokenizerData> Forms(const TokenizerData& arrays) {
  std::vector<TokenizerData> forms;
  if (arrays.model == "gpt2") {
    for (const std::string_view pre : kPreTokenizers) {
      forms.push_back(arrays);
      forms.back().pre = pre;
    }
    return forms;
  }
  for (const bool add_space_prefix : {true, false}) {
    forms.push_back(arrays);
    forms.back().pre = "default";
    forms.back().add_space_prefix = add_space_prefix;
  }
  return forms;
}

bool GivesTheSameIds(const Tokenizer& original, const TokenizerData& form) {
  const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(form);
  if (!tokenizer.ok()) return false;
  for (const bool add_special : {true, false}) {
    const EncodeOptions options = {.add_special = add_special};
    if ((*tokenizer)->Encode(kProbe, options) != original.Encode(kProbe, options)) return false;
  }
  return true;
}

}  // namespace

Result<TokenizerData> ToGgufVocabulary(const TokenizerData& data, size_t vocab_size) {
  if (!data.tokens.empty() || data.tokenizer_json.empty()) return data;
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> original, Tokenizer::Create(data));
  KVASIR_ASSIGN_OR_RETURN(const JsonValue root, ParseTokenizerJson(data.tokenizer_json));
  KVASIR_ASSIGN_OR_RETURN(const TokenizerData arrays, Converter(data, vocab_size).Convert(root));
  for (TokenizerData& form : Forms(arrays)) {
    if (GivesTheSameIds(*original, form)) return std::move(form);
  }
  std::string tried;
  for (const std::string_view pre : kPreTokenizers) {
    tried += (tried.empty() ? "" : ", ") + std::string(pre);
  }
  return Unimplemented("tokenizer.json cuts text in a way that GGUF's tokenizer model \"" +
                       arrays.model + "\" does not" +
                       (arrays.model == "gpt2" ? " with any of the pre-tokenizers " + tried : ""));
}

}  // namespace kvasir
