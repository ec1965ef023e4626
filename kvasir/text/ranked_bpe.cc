#include "kvasir/text/ranked_bpe.h"

#include <bit>

#include "kvasir/text/unicode.h"

namespace kvasir {

RankedBpe::PairTable::PairTable(const std::vector<RankedMerge>& merges) {
  const size_t slot_count = std::bit_ceil(merges.size() + merges.size() / 2 + 2);
  slots_.resize(slot_count);
  shift_ = 64 - std::countr_zero(slot_count);
  for (uint32_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = Pair(merges[rank].left, merges[rank].right);
    size_t at = Home(pair);
    while (slots_[at].pair != kFree && slots_[at].pair != pair) at = (at + 1) & (slot_count - 1);
    slots_[at] = {pair, {rank, merges[rank].merged}};
  }
}

BpeMerge RankedBpe::PairTable::Find(TokenId left, TokenId right) const {
  const uint64_t pair = Pair(left, right);
  for (size_t at = Home(pair);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return slots_[at].merge;
    if (slots_[at].pair == kFree) return BpeMerge();
  }
}

RankedBpe::RankedBpe(TokenMap tokens, const std::vector<RankedMerge>& merges,
                     const std::vector<std::string_view>& merged_texts,
                     const RankedBpeOptions& options)
    : tokens_(std::move(tokens)), merges_(merges), options_(options) {
  for (const std::string_view text : merged_texts) joins_.Add(text);
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    single_bytes_[b] = tokens_.Find(std::string_view(&byte, 1));
  }
}

void RankedBpe::Encode(std::string_view piece, TokenModelScratch& scratch,
                       std::vector<TokenId>& ids) const {
  if (options_.ignore_merges) {
    if (const TokenId whole = tokens_.Find(piece); whole != kNoToken) {
      ids.push_back(whole);
      return;
    }
  }
  scratch.bpe.symbols.clear();
  if (options_.byte_level) {
    EncodeBytes(piece, scratch, ids);
  } else {
    EncodeChars(piece, scratch, ids);
  }
}

void RankedBpe::EncodeBytes(std::string_view piece, TokenModelScratch& scratch,
                            std::vector<TokenId>& ids) const {
  for (size_t i = 0; i < piece.size(); ++i) {
    const TokenId id = single_bytes_[static_cast<unsigned char>(piece[i])];
    if (id != kNoToken) {
      scratch.bpe.symbols.push_back({.begin = static_cast<uint32_t>(i), .byte_count = 1, .id = id});
    } else {
      AddUnknown(piece, i, 1, scratch.bpe.symbols);
    }
  }
  Flush(scratch, ids);
}

void RankedBpe::EncodeChars(std::string_view piece, TokenModelScratch& scratch,
                            std::vector<TokenId>& ids) const {
  char32_t previous = 0;
  bool previous_known = false;
  for (size_t i = 0; i < piece.size();) {
    const Utf8Char c = DecodeUtf8(piece.substr(i));
    const TokenId id = c.byte_count == 1 ? single_bytes_[static_cast<unsigned char>(piece[i])]
                                         : tokens_.Find(piece.substr(i, c.byte_count));
    const bool known = id != kNoToken;
    // Unknown neighbours stay together, because they may be one token.
    if ((known || previous_known) && !joins_.MayJoin(previous, c.code_point)) Flush(scratch, ids);
    if (known) {
      scratch.bpe.symbols.push_back({.begin = static_cast<uint32_t>(i),
                                     .byte_count = static_cast<uint32_t>(c.byte_count),
                                     .id = id});
    } else {
      AddUnknown(piece, i, c.byte_count, scratch.bpe.symbols);
    }
    previous = c.code_point;
    previous_known = known;
    i += c.byte_count;
  }
  Flush(scratch, ids);
}

void RankedBpe::AddUnknown(std::string_view piece, size_t begin, size_t byte_count,
                           std::vector<BpeSymbol>& symbols) const {
  const UnknownPolicy& unknown = options_.unknown;
  if (unknown.HasBytes(piece.substr(begin, byte_count))) {
    for (size_t i = begin; i < begin + byte_count; ++i) {
      symbols.push_back({.begin = static_cast<uint32_t>(i),
                         .byte_count = 1,
                         .id = unknown.byte_tokens[static_cast<unsigned char>(piece[i])]});
    }
    return;
  }
  if (unknown.unk == kNoToken) return;
  if (unknown.fuse_unk && !symbols.empty() && symbols.back().id == unknown.unk) {
    symbols.back().byte_count += static_cast<uint32_t>(byte_count);
    return;
  }
  symbols.push_back({.begin = static_cast<uint32_t>(begin),
                     .byte_count = static_cast<uint32_t>(byte_count),
                     .id = unknown.unk});
}

void RankedBpe::Flush(TokenModelScratch& scratch, std::vector<TokenId>& ids) const {
  MergeSymbols(scratch.bpe, [this](const BpeSymbol& left, const BpeSymbol& right) {
    return merges_.Find(left.id, right.id);
  });
  for (const BpeSymbol& symbol : scratch.bpe.symbols) ids.push_back(symbol.id);
  scratch.bpe.symbols.clear();
}

}  // namespace kvasir
