// Fuzz target: text as a config.json, read by the family that it names and by every other one; and
// as a tokenizer.json, searched for its members.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kvasir/weights/families/family.h"
#include "kvasir/weights/hf_tokenizer_data.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)kvasir::FindJsonMember(text, "added_tokens");
  const auto config = kvasir::HfConfig::Parse(text);
  if (!config.ok()) return 0;
  for (const kvasir::ModelFamily* family : kvasir::AllFamilies()) {
    kvasir::ModelSpec spec;
    (void)family->read_hf(*config, &spec).ok();
  }
  return 0;
}
