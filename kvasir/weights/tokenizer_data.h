// TokenizerData: everything a checkpoint says about its text side, unparsed: text/ makes a
// Tokenizer and a ChatTemplate of it. Either the GGUF arrays are filled (`tokens` not empty) or
// `tokenizer_json` is the text of a Hugging Face tokenizer.json. Owned by the Checkpoint.

#ifndef KVASIR_WEIGHTS_TOKENIZER_DATA_H_
#define KVASIR_WEIGHTS_TOKENIZER_DATA_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

// GGUF's tokenizer.ggml.token_type.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct TokenizerData {
  // From GGUF.
  std::string model;  // tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama" (SentencePiece BPE),
                      // "t5" (unigram)
  std::string pre;    // tokenizer.ggml.pre: "smollm", "llama-bpe", "qwen2", "default", ...
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id, or empty
  std::vector<TokenType> types;     // by id, or empty (all normal)
  std::vector<std::string> merges;  // "left right", best first

  // From a Hugging Face directory: the whole texts; empty when the file is absent.
  std::string tokenizer_json;
  std::string tokenizer_config_json;

  // From either.
  TokenId bos = kNoToken;
  TokenId eos = kNoToken;
  TokenId unk = kNoToken;
  TokenId pad = kNoToken;
  std::vector<TokenId> end_of_generation;  // every id that ends an answer (eos, eot,
                                           // generation_config's list); no duplicates
  bool add_bos = false;                    // the model expects `bos` before a text
  bool add_eos = false;
  bool add_space_prefix = true;  // SentencePiece: a space before the first word
  std::string chat_template;     // Jinja source; empty when the file has none
  std::map<std::string, std::string> named_chat_templates;  // others, e.g. "tool_use"
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_TOKENIZER_DATA_H_
