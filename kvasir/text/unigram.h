// Unigram: SentencePiece's other algorithm: of all ways to cut a piece into tokens the one with the
// highest sum of scores. Immutable; any thread may use it.

#ifndef KVASIR_TEXT_UNIGRAM_H_
#define KVASIR_TEXT_UNIGRAM_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/text/token_model.h"

namespace kvasir {

struct UnigramToken {
  std::string text;
  double score = 0;
  TokenId id = kNoToken;
};

// In which precision the scores are added up: it decides between ways that are equally good.
enum class ScoreSums {
  kDouble,  // tokenizer.json
  kFloat,   // SentencePiece
};

class Unigram : public TokenModel {
 public:
  // Empty texts are ignored. `score_min`: the lowest score of the whole vocabulary.
  Unigram(std::vector<UnigramToken> tokens, double score_min, ScoreSums sums,
          const UnknownPolicy& unknown);

  void Encode(std::string_view piece, TokenModelScratch& scratch,
              std::vector<TokenId>& ids) const override;

 private:
  // The best way to reach one place of the piece.
  struct Node {
    double score = 0;
    size_t start = kUnreached;  // of the last token on the way
    TokenId id = kNoToken;      // of that token; kNoToken: unknown
  };
  static constexpr size_t kUnreached = SIZE_MAX;

  void Relax(std::string_view piece, size_t start, std::vector<Node>& nodes) const;
  void Append(std::string_view text, TokenId id, std::vector<TokenId>& ids) const;

  std::vector<UnigramToken> tokens_;  // sorted by text
  std::vector<uint32_t> first_;       // as in SpecialTokens: by first byte, 257 entries
  double unknown_score_ = 0;
  ScoreSums sums_;
  UnknownPolicy unknown_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_UNIGRAM_H_
