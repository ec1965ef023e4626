// WordTokenizer: a vocabulary that a test writes down, any bytes, without a way to encode. For
// tests of what happens to tokens that the engine delivers. Any thread.

#ifndef KVASIR_SERVER_TESTING_WORD_TOKENIZER_H_
#define KVASIR_SERVER_TESTING_WORD_TOKENIZER_H_

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/text/tokenizer.h"

namespace kvasir {

class WordTokenizer : public Tokenizer {
 public:
  explicit WordTokenizer(std::vector<std::string> words) : words_(std::move(words)) {}

  std::vector<TokenId> Encode(std::string_view, const EncodeOptions&) const override { return {}; }
  std::string_view TokenBytes(TokenId id) const override {
    return id >= 0 && static_cast<size_t>(id) < words_.size() ? words_[static_cast<size_t>(id)]
                                                              : std::string_view();
  }
  std::string Decode(std::span<const TokenId> ids, const DecodeOptions&) const override {
    std::string text;
    for (const TokenId id : ids) text += TokenBytes(id);
    return text;
  }
  size_t vocab_size() const override { return words_.size(); }
  bool IsControl(TokenId) const override { return false; }
  TokenId Find(std::string_view) const override { return kNoToken; }
  TokenId bos() const override { return kNoToken; }
  TokenId eos() const override { return kNoToken; }
  std::span<const TokenId> end_of_generation() const override { return {}; }
  std::string Describe() const override { return "words"; }

 private:
  const std::vector<std::string> words_;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_TESTING_WORD_TOKENIZER_H_
