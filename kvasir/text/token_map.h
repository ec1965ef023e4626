// TokenMap: token texts -> ids, in one piece of memory and one hash table: a vocabulary of 262,144
// tokens is built in tens of milliseconds and searched millions of times a second. Immutable after
// Build; any thread may search.

#ifndef KVASIR_TEXT_TOKEN_MAP_H_
#define KVASIR_TEXT_TOKEN_MAP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

class TokenMap {
 public:
  TokenMap() = default;

  // Copies the texts. Empty ones are left out. kDataLoss names two ids with one text.
  // REQUIRES ids not negative.
  static Result<TokenMap> Build(const std::vector<std::pair<std::string_view, TokenId>>& tokens);

  // kNoToken when `text` is no token.
  TokenId Find(std::string_view text) const;

  size_t text_bytes_max() const { return text_bytes_max_; }

 private:
  struct Slot {
    uint64_t offset = 0;      // of the text in texts_
    uint32_t byte_count = 0;  // of the text; 0: free
    uint32_t hash = 0;        // upper half of the hash, compared before the text
    TokenId id = kNoToken;
  };

  std::string texts_;
  std::vector<Slot> slots_;  // a power of two of them, linear probing
  size_t text_bytes_max_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKEN_MAP_H_
