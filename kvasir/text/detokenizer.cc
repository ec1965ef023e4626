#include "kvasir/text/detokenizer.h"

#include <utility>

#include "kvasir/text/unicode.h"

namespace kvasir {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, DecodeOptions options)
    : tokenizer_(tokenizer), options_(options) {}

std::string Detokenizer::Push(TokenId id) {
  if (options_.skip_special && tokenizer_.IsControl(id)) return {};
  const std::string_view bytes = tokenizer_.TokenBytes(id);
  if (at_start_ && !bytes.empty()) {
    pending_ = tokenizer_.Decode({&id, 1}, options_);  // knows what to drop before the first word
    at_start_ = false;
  } else {
    pending_.append(bytes);
  }
  std::string complete = pending_.substr(0, pending_.size() - IncompleteUtf8Bytes(pending_));
  pending_.erase(0, complete.size());
  return complete;
}

std::string Detokenizer::Finish() { return std::exchange(pending_, {}); }

}  // namespace kvasir
