// Fuzz target: a tokenizer.json, and behind its first zero byte a text. Whatever the file says, it
// is refused or makes a tokenizer that encodes and decodes any text within its vocabulary.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kvasir/base/check.h"
#include "kvasir/text/detokenizer.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {
namespace {

void EncodeAndDecode(const Tokenizer& tokenizer, std::string_view text, bool special) {
  const auto ids = tokenizer.Encode(text, {.add_special = special, .parse_special = special});
  Detokenizer detokenizer(tokenizer, {.skip_special = special});
  std::string streamed;
  for (const TokenId id : ids) {
    KVASIR_CHECK(id >= 0 && static_cast<size_t>(id) < tokenizer.vocab_size());
    streamed += detokenizer.Push(id);
  }
  streamed += detokenizer.Finish();
  KVASIR_CHECK(streamed == tokenizer.Decode(ids, {.skip_special = special}));
}

void Run(std::string_view input) {
  const size_t zero = std::min(input.find('\0'), input.size());
  TokenizerData data;
  data.tokenizer_json = input.substr(0, zero);
  const auto tokenizer = Tokenizer::Create(data);
  if (!tokenizer.ok()) {
    KVASIR_CHECK(!tokenizer.status().message().empty());
    return;
  }
  const std::string_view text = input.substr(std::min(zero + 1, input.size()));
  EncodeAndDecode(**tokenizer, text, false);
  EncodeAndDecode(**tokenizer, text, true);
}

}  // namespace
}  // namespace kvasir

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kvasir::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
