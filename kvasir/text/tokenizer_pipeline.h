// TokenizerPipeline: the one implementation of Tokenizer. Text flows through special tokens,
// normalizer, special tokens of the normalized text, pre-tokenizer and model; GGUF and
// tokenizer.json differ only in how they fill the parts. Immutable; any thread may use it.

#ifndef KVASIR_TEXT_TOKENIZER_PIPELINE_H_
#define KVASIR_TEXT_TOKENIZER_PIPELINE_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/text/normalizer.h"
#include "kvasir/text/pre_tokenizer.h"
#include "kvasir/text/special_tokens.h"
#include "kvasir/text/token_map.h"
#include "kvasir/text/token_model.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

// One cut at special tokens, with and without those that a text from outside must not name.
struct SpecialTokenCut {
  SpecialTokens all;
  SpecialTokens plain;  // those that are text
};

struct TokenizerParts {
  SpecialTokenCut raw;
  Normalizer normalizer;
  SpecialTokenCut normalized;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  std::vector<TokenId> prefix;  // add_special puts these around a text
  std::vector<TokenId> suffix;

  std::vector<std::string> token_bytes;  // by id: what TokenBytes returns
  std::vector<bool> control;             // by id
  TokenMap names;                        // the vocabulary's own texts
  bool drop_leading_space = false;       // Decode drops the first character of a text when a space

  TokenId bos = kNoToken;
  TokenId eos = kNoToken;
  std::vector<TokenId> end_of_generation;
  std::string description;
};

class TokenizerPipeline : public Tokenizer {
 public:
  // REQUIRES a model, token_bytes and control of one size, and ids within it.
  explicit TokenizerPipeline(TokenizerParts parts) : parts_(std::move(parts)) {}

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId id) const override;
  std::string Decode(std::span<const TokenId> ids, const DecodeOptions& options) const override;
  size_t vocab_size() const override { return parts_.token_bytes.size(); }
  bool IsControl(TokenId id) const override;
  TokenId Find(std::string_view token) const override { return parts_.names.Find(token); }
  TokenId bos() const override { return parts_.bos; }
  TokenId eos() const override { return parts_.eos; }
  std::span<const TokenId> end_of_generation() const override { return parts_.end_of_generation; }
  std::string Describe() const override { return parts_.description; }

 private:
  // Text between the tokens of the raw cut.
  void EncodeStretch(std::string_view stretch, bool at_text_start, const EncodeOptions& options,
                     TokenModelScratch& scratch, std::vector<TokenId>& ids) const;

  TokenizerParts parts_;
};

// kDataLoss names the first of bos, eos and end_of_generation in `data` that is outside a
// vocabulary of `vocab_size`; fills them into `parts` otherwise.
Status SetEdgeTokens(const TokenizerData& data, size_t vocab_size, TokenizerParts& parts);

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_PIPELINE_H_
