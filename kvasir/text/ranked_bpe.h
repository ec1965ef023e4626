// RankedBpe: BPE whose merges are a list, best first: GPT-2's over bytes, and that of
// tokenizer.json over characters. Immutable; any thread may use it.

#ifndef KVASIR_TEXT_RANKED_BPE_H_
#define KVASIR_TEXT_RANKED_BPE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/text/char_pair_filter.h"
#include "kvasir/text/token_map.h"
#include "kvasir/text/token_model.h"

namespace kvasir {

struct RankedMerge {
  TokenId left = kNoToken;
  TokenId right = kNoToken;
  TokenId merged = kNoToken;
};

struct RankedBpeOptions {
  bool byte_level = true;      // symbols begin as bytes; else as characters
  bool ignore_merges = false;  // a piece that is a token stays whole
  UnknownPolicy unknown;
};

class RankedBpe : public TokenModel {
 public:
  // `tokens`: the text (byte-level: the bytes) of every token that may come out. `merges`: best
  // first; of two for one pair the later counts. `merged_texts`: what the merges make, for a
  // character-level model; may be empty for byte-level.
  RankedBpe(TokenMap tokens, const std::vector<RankedMerge>& merges,
            const std::vector<std::string_view>& merged_texts, const RankedBpeOptions& options);

  void Encode(std::string_view piece, TokenModelScratch& scratch,
              std::vector<TokenId>& ids) const override;

 private:
  // Merges by pair of ids: one hash table with linear probing, because nearly all of the time of an
  // encoding goes into looking pairs up.
  class PairTable {
   public:
    explicit PairTable(const std::vector<RankedMerge>& merges);
    BpeMerge Find(TokenId left, TokenId right) const;

   private:
    struct Slot {
      uint64_t pair = kFree;
      BpeMerge merge;
    };
    static constexpr uint64_t kFree = UINT64_MAX;
    static uint64_t Pair(TokenId left, TokenId right) {
      return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    }
    size_t Home(uint64_t pair) const { return pair * 0x9E3779B97F4A7C15u >> shift_; }

    std::vector<Slot> slots_;
    int shift_ = 0;
  };

  void EncodeBytes(std::string_view piece, TokenModelScratch& scratch,
                   std::vector<TokenId>& ids) const;
  void EncodeChars(std::string_view piece, TokenModelScratch& scratch,
                   std::vector<TokenId>& ids) const;
  void AddUnknown(std::string_view piece, size_t begin, size_t byte_count,
                  std::vector<BpeSymbol>& symbols) const;
  // Merges the symbols, appends their ids and forgets them.
  void Flush(TokenModelScratch& scratch, std::vector<TokenId>& ids) const;

  TokenMap tokens_;
  PairTable merges_;
  RankedBpeOptions options_;
  CharPairFilter joins_;
  std::array<TokenId, 256> single_bytes_;  // tokens of one byte
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_RANKED_BPE_H_
