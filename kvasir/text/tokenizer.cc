#include "kvasir/text/tokenizer.h"

#include "kvasir/text/gguf_tokenizer.h"
#include "kvasir/text/tokenizer_json.h"

namespace kvasir {

Result<std::unique_ptr<Tokenizer>> Tokenizer::Create(const TokenizerData& data) {
  if (!data.tokens.empty()) return MakeGgufTokenizer(data);
  if (!data.tokenizer_json.empty()) return MakeJsonTokenizer(data);
  return DataLoss(
      "the checkpoint has no vocabulary: neither tokenizer.ggml.tokens nor "
      "tokenizer.json");
}

}  // namespace kvasir
