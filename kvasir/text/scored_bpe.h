// ScoredBpe: SentencePiece's BPE: neighbours merge when their joined text is a token, the one with
// the highest score first. Immutable; any thread may use it.

#ifndef KVASIR_TEXT_SCORED_BPE_H_
#define KVASIR_TEXT_SCORED_BPE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/text/char_pair_filter.h"
#include "kvasir/text/token_map.h"
#include "kvasir/text/token_model.h"

namespace kvasir {

class ScoredBpe : public TokenModel {
 public:
  // `tokens`: the texts that may be merged to. `texts`: the same texts, whose neighbours are noted.
  // `scores`: by id; higher is earlier. REQUIRES a score for every id in `tokens`.
  ScoredBpe(TokenMap tokens, const std::vector<std::string_view>& texts,
            const std::vector<float>& scores, const UnknownPolicy& unknown);

  void Encode(std::string_view piece, TokenModelScratch& scratch,
              std::vector<TokenId>& ids) const override;

 private:
  void Flush(std::string_view piece, TokenModelScratch& scratch, bool* last_is_unk,
             std::vector<TokenId>& ids) const;

  TokenMap tokens_;
  std::vector<uint32_t> ranks_;  // by id: the scores as integers, lower is earlier
  CharPairFilter joins_;
  UnknownPolicy unknown_;
  std::array<TokenId, 256> single_bytes_;  // tokens of one byte
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_SCORED_BPE_H_
