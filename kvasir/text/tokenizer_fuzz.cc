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

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvasir;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  TokenizerData tokenizer_data;
  tokenizer_data.tokenizer_json = input.substr(0, zero);
  const std::string_view text = input.substr(std::min(zero + 1, input.size()));
  const auto tokenizer = Tokenizer::Create(tokenizer_data);
  if (!tokenizer.ok()) {
    KVASIR_CHECK(!tokenizer.status().message().empty());
    return 0;
  }
  for (const bool special : {false, true}) {
    const auto ids = (*tokenizer)->Encode(text, {.add_special = special, .parse_special = special});
    Detokenizer detokenizer(**tokenizer, {.skip_special = special});
    std::string streamed;
    for (const TokenId id : ids) {
      KVASIR_CHECK(id >= 0 && static_cast<size_t>(id) < (*tokenizer)->vocab_size());
      streamed += detokenizer.Push(id);
    }
    streamed += detokenizer.Finish();
    KVASIR_CHECK(streamed == (*tokenizer)->Decode(ids, {.skip_special = special}));
  }
  return 0;
}
