// TokenModel: the algorithm that turns one piece of text into tokens: merges by rank (byte-level
// BPE and the BPE of tokenizer.json), merges by score (SentencePiece BPE), or the likeliest
// segmentation (unigram). Immutable after creation; any thread may use it, each with its own
// TokenModelScratch.

#ifndef KVASIR_TEXT_TOKEN_MODEL_H_
#define KVASIR_TEXT_TOKEN_MODEL_H_

#include <array>
#include <string_view>
#include <vector>

#include "kvasir/formats/token_id.h"
#include "kvasir/text/bpe_merge.h"

namespace kvasir {

// Memory that the pieces of one text share.
struct TokenModelScratch {
  BpeScratch bpe;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Appends the tokens of `piece`, which may hold any bytes, to `ids`. REQUIRES a piece of less
  // than 2 GiB.
  virtual void Encode(std::string_view piece, TokenModelScratch& scratch,
                      std::vector<TokenId>& ids) const = 0;
};

// What stands for a character that no token covers: its bytes' tokens, or the unknown token.
struct UnknownPolicy {
  // Tokens "<0x00>" to "<0xFF>"; used for a character when all of its bytes have one.
  std::array<TokenId, 256> byte_tokens;
  TokenId unk = kNoToken;  // kNoToken: such characters vanish
  bool fuse_unk = false;   // one token for several unknown characters in a row

  UnknownPolicy() { byte_tokens.fill(kNoToken); }
  bool HasBytes(std::string_view text) const {
    for (const char c : text) {
      if (byte_tokens[static_cast<unsigned char>(c)] == kNoToken) return false;
    }
    return true;
  }
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKEN_MODEL_H_
