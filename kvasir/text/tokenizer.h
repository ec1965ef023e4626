// Tokenizer: words <-> token ids. Byte-level BPE, SentencePiece BPE or unigram behind one
// interface; the ids are those of the model's original tokenizer, for any bytes. Immutable after
// creation; any thread may use it.

#ifndef KVASIR_TEXT_TOKENIZER_H_
#define KVASIR_TEXT_TOKENIZER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/weights/tokenizer_data.h"

namespace kvasir {

struct EncodeOptions {
  bool add_special = true;  // bos/eos as the model expects them around a text
  bool parse_special =
      true;  // "<|im_start|>" in the text becomes its special token; false for untrusted text
  // When not empty: cut out of the text after special tokens were found in it, so that what
  // LiteralMarker marked with it stays text.
  std::string_view literal_mark = {};
};

struct DecodeOptions {
  bool skip_special = false;  // leave out control tokens
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Chooses the algorithm from `data`. kUnimplemented names a tokenizer model or pre-tokenizer that
  // is not known, kDataLoss an inconsistent vocabulary. Copies what it needs from `data`.
  static Result<std::unique_ptr<Tokenizer>> Create(const TokenizerData& data);

  // The ids of `text`, which may hold any bytes. Never fails; linear or n log n in the text's
  // length.
  virtual std::vector<TokenId> Encode(std::string_view text,
                                      const EncodeOptions& options = {}) const = 0;

  // The bytes that one token stands for inside a text (SentencePiece: with a space for its marker,
  // bytes for <0xNN>); control tokens give their name. Empty for an id outside the vocabulary.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  // The text of `ids`. SentencePiece models drop the space before the first word, as their own
  // decoder does.
  virtual std::string Decode(std::span<const TokenId> ids,
                             const DecodeOptions& options = {}) const = 0;

  virtual size_t vocab_size() const = 0;
  virtual bool IsControl(TokenId id) const = 0;  // special tokens that are not text
  // The id of a token by its exact text, kNoToken when there is none.
  virtual TokenId Find(std::string_view token) const = 0;
  virtual TokenId bos() const = 0;  // kNoToken when the model has none
  virtual TokenId eos() const = 0;
  virtual std::span<const TokenId> end_of_generation() const = 0;
  // "byte-level BPE, pre-tokenizer smollm, 49152 tokens": for `kvasir info`.
  virtual std::string Describe() const = 0;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_H_
