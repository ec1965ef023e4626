#include "kvasir/text/scored_bpe.h"

#include <bit>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

// Maps scores to integers in the opposite order: the bits of positive floats ascend with their
// value, those of negative ones descend.
uint32_t RankOfScore(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // one zero
  const uint32_t ascending = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return std::min(~ascending, kNoMerge - 1);
}

}  // namespace

ScoredBpe::ScoredBpe(TokenMap tokens, const std::vector<std::string_view>& texts,
                     const std::vector<float>& scores, const UnknownPolicy& unknown)
    : tokens_(std::move(tokens)), unknown_(unknown) {
  for (const std::string_view text : texts) joins_.Add(text);
  ranks_.reserve(scores.size());
  for (const float score : scores) ranks_.push_back(RankOfScore(score));
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    single_bytes_[b] = tokens_.Find(std::string_view(&byte, 1));
  }
}

void ScoredBpe::Encode(std::string_view piece, TokenModelScratch& scratch,
                       std::vector<TokenId>& ids) const {
  scratch.bpe.symbols.clear();
  char32_t previous = 0;
  bool last_is_unk = false;
  for (size_t i = 0; i < piece.size();) {
    const Utf8Char c = DecodeUtf8(piece.substr(i));
    if (i > 0 && !joins_.MayJoin(previous, c.code_point)) {
      Flush(piece, scratch, &last_is_unk, ids);
    }
    const TokenId id = c.byte_count == 1 ? single_bytes_[static_cast<unsigned char>(piece[i])]
                                         : tokens_.Find(piece.substr(i, c.byte_count));
    scratch.bpe.symbols.push_back({.begin = static_cast<uint32_t>(i),
                                   .byte_count = static_cast<uint32_t>(c.byte_count),
                                   .id = id});
    previous = c.code_point;
    i += c.byte_count;
  }
  Flush(piece, scratch, &last_is_unk, ids);
}

void ScoredBpe::Flush(std::string_view piece, TokenModelScratch& scratch, bool* last_is_unk,
                      std::vector<TokenId>& ids) const {
  MergeSymbols(scratch.bpe, [&](const BpeSymbol& left, const BpeSymbol& right) {
    const TokenId id = tokens_.Find(piece.substr(left.begin, left.byte_count + right.byte_count));
    return id == kNoToken ? BpeMerge() : BpeMerge{ranks_[static_cast<size_t>(id)], id};
  });
  for (const BpeSymbol& symbol : scratch.bpe.symbols) {
    const std::string_view text = piece.substr(symbol.begin, symbol.byte_count);
    if (symbol.id != kNoToken) {
      ids.push_back(symbol.id);
      *last_is_unk = false;
    } else if (unknown_.HasBytes(text)) {
      for (const char c : text) ids.push_back(unknown_.byte_tokens[static_cast<unsigned char>(c)]);
      *last_is_unk = false;
    } else if (unknown_.unk != kNoToken && !(*last_is_unk && unknown_.fuse_unk)) {
      ids.push_back(unknown_.unk);
      *last_is_unk = true;
    }
  }
  scratch.bpe.symbols.clear();
}

}  // namespace kvasir
