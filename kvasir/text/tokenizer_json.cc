#include "kvasir/text/tokenizer_json.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kvasir/text/byte_alphabet.h"
#include "kvasir/text/ranked_bpe.h"
#include "kvasir/text/tokenizer_json_steps.h"
#include "kvasir/text/tokenizer_pipeline.h"
#include "kvasir/text/unigram.h"

namespace kvasir {

namespace {

using NamedIds = std::vector<std::pair<std::string_view, TokenId>>;

Status Malformed(std::string_view what) { return DataLoss("tokenizer.json: " + std::string(what)); }

// The tokens of the model and those added to it.
struct Vocabulary {
  std::vector<std::string> texts;  // by id; empty where no token has the id
  std::vector<bool> added;
  std::vector<bool> special;
  std::vector<bool> in_model;  // the model itself may make it
  std::vector<double> scores;  // of a unigram model
  TokenMap names;

  size_t size() const { return texts.size(); }
  // REQUIRES `id` from ReadTokenId.
  Status Set(TokenId id, std::string_view text) {
    const size_t index = static_cast<size_t>(id);
    if (index >= texts.size()) {
      texts.resize(index + 1);
      added.resize(index + 1);
      special.resize(index + 1);
      in_model.resize(index + 1);
    }
    if (!texts[index].empty() && texts[index] != text) {
      return Malformed("id " + std::to_string(id) + " belongs to both \"" + texts[index] +
                       "\" and \"" + std::string(text) + "\"");
    }
    texts[index] = text;
    return OkStatus();
  }
};

Status ReadBpeVocab(const JsonValue& model, Vocabulary& vocab) {
  const JsonValue* entries = FindMember(model, "vocab");
  if (entries == nullptr || !entries->is_object()) return Malformed("model.vocab is no object");
  // Ids beyond this leave more holes than tokens: no vocabulary, but a way to use up memory.
  const size_t id_end = entries->size() * 2 + (1 << 16);
  for (const auto& [text, value] : entries->items()) {
    const TokenId id = ReadTokenId(value);
    if (id == kNoToken || static_cast<size_t>(id) >= id_end) {
      return Malformed("model.vocab[\"" + text + "\"] is " + value.dump() + ", an id below " +
                       std::to_string(id_end) + " is needed");
    }
    KVASIR_RETURN_IF_ERROR(vocab.Set(id, text));
  }
  return OkStatus();
}

Status ReadUnigramVocab(const JsonValue& model, Vocabulary& vocab) {
  const JsonValue* entries = FindMember(model, "vocab");
  if (entries == nullptr || !entries->is_array()) return Malformed("model.vocab is no array");
  for (const JsonValue& entry : *entries) {
    const std::string where = "model.vocab[" + std::to_string(vocab.scores.size()) + "]";
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return Malformed(where + " must be a text and a score");
    }
    const double score = entry[1].get<double>();
    if (!std::isfinite(score)) return Malformed(where + " has no finite score");
    const TokenId id = static_cast<TokenId>(vocab.scores.size());
    KVASIR_RETURN_IF_ERROR(vocab.Set(id, entry[0].get_ref<const std::string&>()));
    vocab.scores.push_back(score);
  }
  return OkStatus();
}

// Called when only the model's tokens are there.
void MarkModelTokens(Vocabulary& vocab) {
  for (size_t id = 0; id < vocab.size(); ++id) vocab.in_model[id] = !vocab.texts[id].empty();
}

// Reads added_tokens into the vocabulary and into the cuts of the raw and the normalized text.
Status ReadAddedTokens(const JsonValue& root, Vocabulary& vocab, TokenizerParts& parts) {
  std::vector<SpecialToken> raw_all, raw_plain, normalized_all, normalized_plain;
  const JsonValue* list = FindMember(root, "added_tokens");
  if (list != nullptr && !list->is_array()) return Malformed("added_tokens is no array");
  const size_t id_end = vocab.size() * 2 + (1 << 16);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const JsonValue& entry = (*list)[i];
    const JsonValue* id_value = FindMember(entry, "id");
    const TokenId id = id_value == nullptr ? kNoToken : ReadTokenId(*id_value);
    const std::string where = "added_tokens[" + std::to_string(i) + "]";
    if (id == kNoToken || static_cast<size_t>(id) >= id_end)
      return Malformed(where + " has no valid id");
    SpecialToken token;
    token.text = StringOr(entry, "content", "");
    if (token.text.empty()) return Malformed(where + " has no content");
    token.id = id;
    token.lstrip = BoolOr(entry, "lstrip", false);
    token.rstrip = BoolOr(entry, "rstrip", false);
    token.single_word = BoolOr(entry, "single_word", false);
    KVASIR_RETURN_IF_ERROR(vocab.Set(id, token.text));
    const bool special = BoolOr(entry, "special", false);
    const bool normalized = BoolOr(entry, "normalized", !special);
    vocab.added[static_cast<size_t>(id)] = true;
    if (special) {
      vocab.special[static_cast<size_t>(id)] = true;
      vocab.in_model[static_cast<size_t>(id)] = false;  // special tokens come from the cut alone
    }
    if (normalized) token.text = parts.normalizer.Apply(token.text);
    (normalized ? normalized_all : raw_all).push_back(token);
    if (!special) (normalized ? normalized_plain : raw_plain).push_back(token);
  }
  parts.raw = {SpecialTokens(std::move(raw_all)), SpecialTokens(std::move(raw_plain))};
  parts.normalized = {SpecialTokens(std::move(normalized_all)),
                      SpecialTokens(std::move(normalized_plain))};
  return OkStatus();
}

Status NameTokens(Vocabulary& vocab) {
  NamedIds names;
  names.reserve(vocab.size());
  for (size_t id = 0; id < vocab.size(); ++id) {
    names.emplace_back(vocab.texts[id], static_cast<TokenId>(id));
  }
  Result<TokenMap> map = TokenMap::Build(names);
  if (!map.ok()) return map.status().WithContext("tokenizer.json");
  vocab.names = std::move(map).value();
  return OkStatus();
}

// "left right" or ["left", "right"].
bool ReadPair(const JsonValue& entry, std::string_view* left, std::string_view* right) {
  if (entry.is_string()) {
    const std::string_view text = entry.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return false;
    }
    *left = text.substr(0, space);
    *right = text.substr(space + 1);
    return true;
  }
  if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string()) {
    return false;
  }
  *left = entry[0].get_ref<const std::string&>();
  *right = entry[1].get_ref<const std::string&>();
  return true;
}

Result<std::vector<RankedMerge>> ReadMerges(const JsonValue& model, const Vocabulary& vocab) {
  const JsonValue* list = FindMember(model, "merges");
  if (list == nullptr || !list->is_array()) return Malformed("model.merges is no array");
  std::vector<RankedMerge> merges;
  merges.reserve(list->size());
  std::string joined;
  for (size_t i = 0; i < list->size(); ++i) {
    std::string_view left, right;
    const std::string where = "model.merges[" + std::to_string(i) + "]";
    if (!ReadPair((*list)[i], &left, &right)) return Malformed(where + " is not two tokens");
    joined.assign(left).append(right);
    const RankedMerge merge = {vocab.names.Find(left), vocab.names.Find(right),
                               vocab.names.Find(joined)};
    if (merge.left == kNoToken || merge.right == kNoToken || merge.merged == kNoToken) {
      return Malformed(where + ": \"" + std::string(left) + "\", \"" + std::string(right) +
                       "\" and what they make must be tokens");
    }
    if (vocab.in_model[static_cast<size_t>(merge.merged)]) merges.push_back(merge);
  }
  return merges;
}

Result<UnknownPolicy> ReadUnknownPolicy(const JsonValue& model, const Vocabulary& vocab) {
  UnknownPolicy unknown;
  if (const JsonValue* text = FindMember(model, "unk_token"); text != nullptr) {
    unknown.unk =
        text->is_string() ? vocab.names.Find(text->get_ref<const std::string&>()) : kNoToken;
    if (unknown.unk == kNoToken) return Malformed("model.unk_token is no token");
  }
  if (const JsonValue* id = FindMember(model, "unk_id"); id != nullptr) {
    unknown.unk = ReadTokenId(*id);
    if (unknown.unk == kNoToken || static_cast<size_t>(unknown.unk) >= vocab.size()) {
      return Malformed("model.unk_id is no token");
    }
  }
  unknown.fuse_unk = BoolOr(model, "fuse_unk", false);
  if (BoolOr(model, "byte_fallback", false)) {
    for (int b = 0; b < 256; ++b) {
      constexpr char kHex[] = "0123456789ABCDEF";
      const char name[] = {'<', '0', 'x', kHex[b / 16], kHex[b % 16], '>'};
      unknown.byte_tokens[b] = vocab.names.Find(std::string_view(name, sizeof(name)));
    }
  }
  return unknown;
}

Result<std::unique_ptr<TokenModel>> MakeBpe(const JsonValue& model, const Vocabulary& vocab,
                                            bool byte_level) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringOr(model, key, "").empty()) {
      return Unimplemented(std::string("tokenizer.json has a model.") + key +
                           ", which is not known");
    }
  }
  KVASIR_ASSIGN_OR_RETURN(const std::vector<RankedMerge> merges, ReadMerges(model, vocab));
  RankedBpeOptions options;
  options.byte_level = byte_level;
  options.ignore_merges = BoolOr(model, "ignore_merges", false);
  KVASIR_ASSIGN_OR_RETURN(options.unknown, ReadUnknownPolicy(model, vocab));
  std::vector<std::string> texts(vocab.size());  // in bytes, empty when out of reach
  NamedIds reachable;
  for (size_t id = 0; id < vocab.size(); ++id) {
    if (!vocab.in_model[id]) continue;
    texts[id] = byte_level ? DecodeByteAlphabet(vocab.texts[id]).value_or("") : vocab.texts[id];
    if (!texts[id].empty()) reachable.emplace_back(texts[id], static_cast<TokenId>(id));
  }
  KVASIR_ASSIGN_OR_RETURN(TokenMap tokens, TokenMap::Build(reachable));
  std::vector<std::string_view> merged_texts;
  for (const RankedMerge& merge : merges) {
    if (!byte_level) merged_texts.push_back(texts[static_cast<size_t>(merge.merged)]);
  }
  return std::unique_ptr<TokenModel>(
      std::make_unique<RankedBpe>(std::move(tokens), merges, merged_texts, options));
}

Result<std::unique_ptr<TokenModel>> MakeUnigram(const JsonValue& model, const Vocabulary& vocab) {
  KVASIR_ASSIGN_OR_RETURN(UnknownPolicy unknown, ReadUnknownPolicy(model, vocab));
  unknown.fuse_unk = true;
  std::vector<UnigramToken> tokens;
  double score_min = 0;
  for (size_t id = 0; id < vocab.scores.size(); ++id) {
    score_min = id == 0 ? vocab.scores[id] : std::min(score_min, vocab.scores[id]);
    if (!vocab.in_model[id]) continue;
    tokens.push_back({vocab.texts[id], vocab.scores[id], static_cast<TokenId>(id)});
  }
  return std::unique_ptr<TokenModel>(
      std::make_unique<Unigram>(std::move(tokens), score_min, ScoreSums::kDouble, unknown));
}

std::string TokenBytesOf(const std::string& text, bool added, const JsonDecoder& decoder) {
  if (decoder.byte_level) {
    return added ? text : DecodeByteAlphabet(text).value_or(text);
  }
  if (decoder.byte_fallback && !added) {
    if (const std::optional<char> byte = ParseByteToken(text)) return std::string(1, *byte);
  }
  Normalizer replacer;
  for (const ReplaceStep& step : decoder.replacements) replacer.Add(step);
  return replacer.Apply(text);
}

// bos_token or eos_token of tokenizer_config.json: a text, or an object with a content.
TokenId ConfiguredToken(const JsonValue& config, const char* key, const TokenMap& names) {
  const JsonValue* token = FindMember(config, key);
  if (token == nullptr) return kNoToken;
  return names.Find(token->is_string() ? token->get<std::string>()
                                       : StringOr(*token, "content", ""));
}

// Everything behind the model: ids around a text, decoding, names.
Status FinishParts(const TokenizerData& data, const JsonValue& root, Vocabulary vocab,
                   TokenizerParts& parts) {
  JsonDecoder decoder;
  if (const JsonValue* json = FindMember(root, "decoder"); json != nullptr) {
    KVASIR_RETURN_IF_ERROR(ReadDecoder(*json, decoder));
  }
  parts.drop_leading_space = decoder.drop_leading_space;
  parts.token_bytes.reserve(vocab.size());
  for (size_t id = 0; id < vocab.size(); ++id) {
    parts.token_bytes.push_back(TokenBytesOf(vocab.texts[id], vocab.added[id], decoder));
  }
  parts.control = vocab.special;
  parts.names = std::move(vocab.names);
  if (!data.tokenizer_config_json.empty()) {
    if (const Result<JsonValue> config = ParseTokenizerJson(data.tokenizer_config_json);
        config.ok()) {
      parts.bos = ConfiguredToken(*config, "bos_token", parts.names);
      parts.eos = ConfiguredToken(*config, "eos_token", parts.names);
    }
  }
  KVASIR_RETURN_IF_ERROR(SetEdgeTokens(data, vocab.size(), parts));
  JsonTemplate around;
  if (const JsonValue* json = FindMember(root, "post_processor"); json != nullptr) {
    KVASIR_RETURN_IF_ERROR(ReadPostProcessor(*json, around));
  }
  for (const std::vector<TokenId>* ids : {&around.prefix, &around.suffix}) {
    for (const TokenId id : *ids) {
      if (static_cast<size_t>(id) >= vocab.size()) {
        return Malformed("post_processor adds id " + std::to_string(id) + ", there are " +
                         std::to_string(vocab.size()) + " tokens");
      }
    }
  }
  if (around.prefix.empty() && data.add_bos && parts.bos != kNoToken) around.prefix = {parts.bos};
  if (around.suffix.empty() && data.add_eos && parts.eos != kNoToken) around.suffix = {parts.eos};
  parts.prefix = std::move(around.prefix);
  parts.suffix = std::move(around.suffix);
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeJsonTokenizer(const TokenizerData& data) {
  KVASIR_ASSIGN_OR_RETURN(const JsonValue root, ParseTokenizerJson(data.tokenizer_json));
  const JsonValue* model = FindMember(root, "model");
  if (model == nullptr) return Malformed("model is missing");
  // Older files leave the type out of BPE.
  const std::string kind =
      StringOr(*model, "type", FindMember(*model, "merges") != nullptr ? "BPE" : "");
  if (kind != "BPE" && kind != "Unigram") {
    return Unimplemented("tokenizer.json has a model of type \"" + kind +
                         "\", which is not known, these are: BPE, Unigram");
  }
  TokenizerParts parts;
  Vocabulary vocab;
  if (const JsonValue* json = FindMember(root, "normalizer"); json != nullptr) {
    KVASIR_RETURN_IF_ERROR(ReadNormalizer(*json, parts.normalizer));
  }
  JsonPreTokenizer pre;
  if (const JsonValue* json = FindMember(root, "pre_tokenizer"); json != nullptr) {
    KVASIR_RETURN_IF_ERROR(ReadPreTokenizer(*json, pre));
  }
  parts.pre_tokenizer = std::move(pre.pre_tokenizer);
  KVASIR_RETURN_IF_ERROR(kind == "BPE" ? ReadBpeVocab(*model, vocab)
                                       : ReadUnigramVocab(*model, vocab));
  MarkModelTokens(vocab);
  KVASIR_RETURN_IF_ERROR(ReadAddedTokens(root, vocab, parts));
  KVASIR_RETURN_IF_ERROR(NameTokens(vocab));
  if (kind == "BPE") {
    KVASIR_ASSIGN_OR_RETURN(parts.model, MakeBpe(*model, vocab, pre.byte_level));
  } else {
    if (pre.byte_level) return Malformed("a Unigram model cannot follow ByteLevel");
    KVASIR_ASSIGN_OR_RETURN(parts.model, MakeUnigram(*model, vocab));
  }
  parts.description = (kind == "Unigram" ? std::string("unigram")
                       : pre.byte_level  ? std::string("byte-level BPE")
                                         : std::string("character BPE")) +
                      " from tokenizer.json, " + std::to_string(vocab.size()) + " tokens";
  KVASIR_RETURN_IF_ERROR(FinishParts(data, root, std::move(vocab), parts));
  return std::unique_ptr<Tokenizer>(std::make_unique<TokenizerPipeline>(std::move(parts)));
}

}  // namespace kvasir
