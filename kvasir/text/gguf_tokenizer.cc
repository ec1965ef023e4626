#include "kvasir/text/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kvasir/text/byte_alphabet.h"
#include "kvasir/text/ranked_bpe.h"
#include "kvasir/text/scored_bpe.h"
#include "kvasir/text/tokenizer_pipeline.h"
#include "kvasir/text/unigram.h"

namespace kvasir {

namespace {

// U+2581: SentencePiece writes a space so.
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

using NamedIds = std::vector<std::pair<std::string_view, TokenId>>;

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t hit; (hit = text.find(from)) != std::string_view::npos;) {
    out.append(text.substr(0, hit)).append(to);
    text.remove_prefix(hit + from.size());
  }
  return out.append(text);
}

TokenType TypeOf(const TokenizerData& data, size_t id) {
  return data.types.empty() ? TokenType::kNormal : data.types[id];
}

// Special tokens that are not text.
bool IsControlType(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

// Tokens that the merges may make.
bool IsMergeable(TokenType type) {
  return type == TokenType::kNormal || type == TokenType::kUserDefined;
}

Status CheckArrays(const TokenizerData& data) {
  const size_t count = data.tokens.size();
  const auto check = [&](std::string_view name, size_t size) {
    if (size == 0 || size == count) return OkStatus();
    return DataLoss(std::string(name) + " has " + std::to_string(size) +
                    " entries, the vocabulary has " + std::to_string(count) + " tokens");
  };
  if (count > INT32_MAX) return DataLoss("the vocabulary has more than 2^31 tokens");
  KVASIR_RETURN_IF_ERROR(check("tokenizer.ggml.scores", data.scores.size()));
  KVASIR_RETURN_IF_ERROR(check("tokenizer.ggml.token_type", data.types.size()));
  for (size_t id = 0; id < data.scores.size(); ++id) {
    if (std::isnan(data.scores[id])) {
      return DataLoss("tokenizer.ggml.scores[" + std::to_string(id) + "] is not a number");
    }
  }
  return OkStatus();
}

// The parts that do not depend on the algorithm, except token_bytes.
Result<TokenizerParts> CommonParts(const TokenizerData& data) {
  TokenizerParts parts;
  NamedIds names;
  names.reserve(data.tokens.size());
  parts.control.resize(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    names.emplace_back(data.tokens[id], static_cast<TokenId>(id));
    parts.control[id] = IsControlType(TypeOf(data, id));
  }
  KVASIR_ASSIGN_OR_RETURN(parts.names, TokenMap::Build(names));
  KVASIR_RETURN_IF_ERROR(SetEdgeTokens(data, data.tokens.size(), parts));
  if (data.add_bos && data.bos != kNoToken) parts.prefix = {data.bos};
  if (data.add_eos && data.eos != kNoToken) parts.suffix = {data.eos};
  return parts;
}

// The cut at control and user-defined tokens; `text_of` gives the text to look for.
template <typename TextOf>
SpecialTokenCut MakeCut(const TokenizerData& data, const TextOf& text_of) {
  std::vector<SpecialToken> all, plain;
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const TokenType type = TypeOf(data, id);
    const SpecialToken token = {.text = text_of(data.tokens[id]), .id = static_cast<TokenId>(id)};
    if (type == TokenType::kUserDefined) plain.push_back(token);
    if (type == TokenType::kUserDefined || IsControlType(type)) all.push_back(token);
  }
  return {SpecialTokens(std::move(all)), SpecialTokens(std::move(plain))};
}

// tokenizer.ggml.merges as ids. A merge that would make a control token is left out: those only
// come from the cut.
Result<std::vector<RankedMerge>> ParseMerges(const TokenizerData& data, const TokenMap& names,
                                             const std::vector<bool>& control) {
  std::vector<RankedMerge> merges;
  merges.reserve(data.merges.size());
  std::string joined;
  for (size_t i = 0; i < data.merges.size(); ++i) {
    const std::string_view text = data.merges[i];
    const size_t space = text.find(' ', 1);  // a token may begin with a space, none holds one
    const std::string where = "tokenizer.ggml.merges[" + std::to_string(i) + "]";
    if (space == std::string_view::npos || space + 1 == text.size()) {
      return DataLoss(where + " is \"" + std::string(text) + "\", it must be two tokens");
    }
    const std::string_view left = text.substr(0, space);
    const std::string_view right = text.substr(space + 1);
    joined.assign(left).append(right);
    const RankedMerge merge = {names.Find(left), names.Find(right), names.Find(joined)};
    if (merge.left == kNoToken || merge.right == kNoToken || merge.merged == kNoToken) {
      return DataLoss(where + " is \"" + std::string(text) +
                      "\", both sides and what they make must be tokens");
    }
    if (!control[static_cast<size_t>(merge.merged)]) merges.push_back(merge);
  }
  return merges;
}

Result<std::unique_ptr<Tokenizer>> MakeByteBpe(const TokenizerData& data) {
  KVASIR_ASSIGN_OR_RETURN(NamedPreTokenizer named, MakeNamedPreTokenizer(data.pre));
  KVASIR_ASSIGN_OR_RETURN(TokenizerParts parts, CommonParts(data));
  NamedIds reachable;
  parts.token_bytes.reserve(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const std::string& text = data.tokens[id];
    // Special tokens are written as they are, all others in the byte alphabet.
    std::optional<std::string> bytes;
    if (TypeOf(data, id) == TokenType::kNormal) bytes = DecodeByteAlphabet(text);
    parts.token_bytes.push_back(bytes.value_or(text));
    if (bytes) reachable.emplace_back(parts.token_bytes.back(), static_cast<TokenId>(id));
  }
  KVASIR_ASSIGN_OR_RETURN(TokenMap tokens, TokenMap::Build(reachable));
  KVASIR_ASSIGN_OR_RETURN(const std::vector<RankedMerge> merges,
                          ParseMerges(data, parts.names, parts.control));
  RankedBpeOptions options;
  options.ignore_merges = named.ignore_merges;
  // Bytes without a token (SmolLM2 lacks some that are rare) vanish, as in the original: the
  // unknown token that files name is not the model's but transformers'.
  parts.model = std::make_unique<RankedBpe>(std::move(tokens), merges,
                                            std::vector<std::string_view>(), options);
  if (named.normalize_nfc) parts.normalizer.Add(NormalForm::kNfc);
  parts.raw = MakeCut(data, [](const std::string& text) { return text; });
  parts.pre_tokenizer = std::move(named.pre_tokenizer);
  parts.description = "byte-level BPE, pre-tokenizer " + (data.pre.empty() ? "default" : data.pre) +
                      ", " + std::to_string(data.tokens.size()) + " tokens";
  return std::unique_ptr<Tokenizer>(std::make_unique<TokenizerPipeline>(std::move(parts)));
}

// What TokenBytes returns for the tokens of a SentencePiece vocabulary; notes the byte tokens.
std::vector<std::string> SentencePieceBytes(const TokenizerData& data, UnknownPolicy& unknown) {
  std::vector<std::string> token_bytes;
  token_bytes.reserve(data.tokens.size());
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const std::string& text = data.tokens[id];
    const TokenType type = TypeOf(data, id);
    const bool may_be_byte = type == TokenType::kByte || data.types.empty();
    const std::optional<char> byte = may_be_byte ? ParseByteToken(text) : std::nullopt;
    if (byte) {
      unknown.byte_tokens[static_cast<unsigned char>(*byte)] = static_cast<TokenId>(id);
      token_bytes.push_back(std::string(1, *byte));
    } else if (IsControlType(type)) {
      token_bytes.push_back(text);
    } else {
      token_bytes.push_back(ReplaceAll(text, kSpaceMark, " "));
    }
  }
  return token_bytes;
}

std::unique_ptr<TokenModel> MakeUnigram(const TokenizerData& data,
                                        const std::vector<std::string>& texts,
                                        const UnknownPolicy& unknown) {
  std::vector<UnigramToken> tokens;
  float score_min = data.scores.empty() ? 0.0f : data.scores[0];
  for (size_t id = 0; id < texts.size(); ++id) {
    if (!IsMergeable(TypeOf(data, id))) continue;
    tokens.push_back({texts[id], data.scores[id], static_cast<TokenId>(id)});
    score_min = std::min(score_min, data.scores[id]);
  }
  return std::make_unique<Unigram>(std::move(tokens), score_min, ScoreSums::kFloat, unknown);
}

Result<std::unique_ptr<Tokenizer>> MakeSentencePiece(const TokenizerData& data) {
  const bool unigram = data.model == "t5";
  if (data.scores.empty()) {
    return DataLoss("tokenizer.ggml.scores is missing, model \"" + data.model + "\" needs it");
  }
  KVASIR_ASSIGN_OR_RETURN(TokenizerParts parts, CommonParts(data));
  UnknownPolicy unknown;
  unknown.fuse_unk = true;
  if (data.unk >= 0 && static_cast<size_t>(data.unk) < data.tokens.size()) unknown.unk = data.unk;
  parts.token_bytes = SentencePieceBytes(data, unknown);

  // Files write spaces in user-defined tokens as they are, in others as the mark.
  const auto marked = [](const std::string& text) { return ReplaceAll(text, " ", kSpaceMark); };
  std::vector<std::string> texts;
  texts.reserve(data.tokens.size());
  for (const std::string& token : data.tokens) texts.push_back(marked(token));
  if (unigram) {
    parts.model = MakeUnigram(data, texts, unknown);
  } else {
    NamedIds reachable;
    std::vector<std::string_view> reachable_texts;
    for (size_t id = 0; id < texts.size(); ++id) {
      const bool is_byte = data.types.empty() && ParseByteToken(texts[id]).has_value();
      if (!IsMergeable(TypeOf(data, id)) || is_byte) continue;
      reachable.emplace_back(texts[id], static_cast<TokenId>(id));
      reachable_texts.push_back(texts[id]);
    }
    KVASIR_ASSIGN_OR_RETURN(TokenMap tokens, TokenMap::Build(reachable));
    parts.model =
        std::make_unique<ScoredBpe>(std::move(tokens), reachable_texts, data.scores, unknown);
  }
  // SentencePiece looks for its user-defined tokens in the marked text.
  parts.normalizer.Add(ReplaceStep{" ", std::string(kSpaceMark)});
  parts.normalized = MakeCut(data, marked);
  if (data.add_space_prefix) {
    parts.pre_tokenizer.Add(PrefixStep{.text = std::string(kSpaceMark)});
    parts.drop_leading_space = true;
  }
  parts.description = std::string("SentencePiece ") + (unigram ? "unigram" : "BPE") + ", " +
                      std::to_string(data.tokens.size()) + " tokens";
  return std::unique_ptr<Tokenizer>(std::make_unique<TokenizerPipeline>(std::move(parts)));
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(const TokenizerData& data) {
  KVASIR_RETURN_IF_ERROR(CheckArrays(data));
  if (data.model == "gpt2") return MakeByteBpe(data);
  if (data.model == "llama" || data.model == "t5") return MakeSentencePiece(data);
  return Unimplemented("tokenizer model \"" + data.model +
                       "\" is not known, these are: gpt2, llama, t5");
}

}  // namespace kvasir
