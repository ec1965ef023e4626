#include "kvasir/text/tokenizer_pipeline.h"

#include "kvasir/text/literal_marker.h"

namespace kvasir {

namespace {

// Models count bytes in 32 bits; a longer piece is cut, which no tokenizer was made for anyway.
constexpr size_t kPieceBytesMax = size_t{1} << 30;

bool InVocabulary(TokenId id, size_t vocab_size) {
  return id >= 0 && static_cast<size_t>(id) < vocab_size;
}

Status CheckId(std::string_view name, TokenId id, size_t vocab_size) {
  if (InVocabulary(id, vocab_size)) return OkStatus();
  return DataLoss(std::string(name) + " token id is " + std::to_string(id) +
                  ", the vocabulary has " + std::to_string(vocab_size) + " tokens");
}

}  // namespace

std::vector<TokenId> TokenizerPipeline::Encode(std::string_view text,
                                               const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + parts_.prefix.size() + parts_.suffix.size());
  if (options.add_special) ids = parts_.prefix;
  TokenModelScratch scratch;
  const SpecialTokens& cut = options.parse_special ? parts_.raw.all : parts_.raw.plain;
  cut.Split(text, [&](std::string_view stretch, TokenId id) {
    if (id != kNoToken) {
      ids.push_back(id);
    } else {
      EncodeStretch(stretch, stretch.data() == text.data(), options, scratch, ids);
    }
  });
  if (options.add_special) {
    ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  }
  return ids;
}

void TokenizerPipeline::EncodeStretch(std::string_view stretch, bool at_text_start,
                                      const EncodeOptions& options, TokenModelScratch& scratch,
                                      std::vector<TokenId>& ids) const {
  std::string unmarked, changed;
  bool parse_special = options.parse_special;
  if (!options.literal_mark.empty() && stretch.find(options.literal_mark) != stretch.npos) {
    stretch = unmarked = RemoveMark(stretch, options.literal_mark);
    parse_special = false;  // without the marks the text may name special tokens
  }
  if (!parts_.normalizer.empty()) stretch = changed = parts_.normalizer.Apply(stretch);
  const PreTokenizer::Sink encode_piece = [&](std::string_view piece) {
    for (size_t i = 0; i < piece.size(); i += kPieceBytesMax) {
      parts_.model->Encode(piece.substr(i, kPieceBytesMax), scratch, ids);
    }
  };
  const SpecialTokens& cut = parse_special ? parts_.normalized.all : parts_.normalized.plain;
  cut.Split(stretch, [&](std::string_view part, TokenId id) {
    if (id != kNoToken) {
      ids.push_back(id);
    } else {
      parts_.pre_tokenizer.Split(part, at_text_start && part.data() == stretch.data(),
                                 encode_piece);
    }
  });
}

std::string_view TokenizerPipeline::TokenBytes(TokenId id) const {
  if (!InVocabulary(id, vocab_size())) return {};
  return parts_.token_bytes[static_cast<size_t>(id)];
}

bool TokenizerPipeline::IsControl(TokenId id) const {
  return InVocabulary(id, vocab_size()) && parts_.control[static_cast<size_t>(id)];
}

std::string TokenizerPipeline::Decode(std::span<const TokenId> ids,
                                      const DecodeOptions& options) const {
  std::string text;
  bool at_start = true;  // until a token that has bytes
  for (const TokenId id : ids) {
    if (options.skip_special && IsControl(id)) continue;
    std::string_view bytes = TokenBytes(id);
    if (bytes.empty()) continue;
    if (at_start && parts_.drop_leading_space && bytes.starts_with(' ')) bytes.remove_prefix(1);
    text.append(bytes);
    at_start = false;
  }
  return text;
}

Status SetEdgeTokens(const TokenizerData& data, size_t vocab_size, TokenizerParts& parts) {
  if (data.bos != kNoToken) KVASIR_RETURN_IF_ERROR(CheckId("bos", data.bos, vocab_size));
  if (data.eos != kNoToken) KVASIR_RETURN_IF_ERROR(CheckId("eos", data.eos, vocab_size));
  for (const TokenId id : data.end_of_generation) {
    KVASIR_RETURN_IF_ERROR(CheckId("end-of-generation", id, vocab_size));
  }
  if (data.bos != kNoToken) parts.bos = data.bos;
  if (data.eos != kNoToken) parts.eos = data.eos;
  parts.end_of_generation = data.end_of_generation;
  if (parts.end_of_generation.empty() && parts.eos != kNoToken) {
    parts.end_of_generation.push_back(parts.eos);
  }
  return OkStatus();
}

}  // namespace kvasir
