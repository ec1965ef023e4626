// Any bytes as the source of a chat template: parsed and rendered under small limits with a fixed
// conversation. Nothing may crash, run long or grow; what it renders is up to the template.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kvasir/text/chat_template.h"

namespace {

kvasir::ChatInputs FixedInputs() {
  using kvasir::Json;
  kvasir::ChatInputs inputs;
  inputs.messages = {
      {{"role", "system"}, {"content", "Be brief."}},
      {{"role", "user"}, {"content", "Wie groß ist 日本? 🎉"}},
      {{"role", "assistant"},
       {"content", nullptr},
       {"tool_calls",
        {{{"id", "abcdefghi"},
          {"type", "function"},
          {"function", {{"name", "area"}, {"arguments", {{"of", "JP"}, {"n", 1.5}}}}}}}}},
      {{"role", "tool"}, {"content", "377975"}, {"tool_call_id", "abcdefghi"}},
  };
  inputs.tools =
      Json::array({{{"type", "function"},
                    {"function", {{"name", "area"}, {"parameters", {{"type", "object"}}}}}}});
  inputs.bos_token = "<s>";
  inputs.eos_token = "</s>";
  inputs.extra = {{"strftime_now", "2024-07-26T12:00:00"}, {"xs", {3, 1, 2}}, {"f", 2.5}};
  return inputs;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const kvasir::ChatInputs inputs = FixedInputs();
  constexpr kvasir::ChatTemplateLimits kLimits = {
      .source_bytes_max = 1 << 16,
      .output_bytes_max = 1 << 16,
      .steps_max = 20'000,
      .depth_max = 64,
  };
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto chat_template = kvasir::ChatTemplate::Parse(source, kLimits);
  if (!chat_template.ok()) return 0;
  const auto text = chat_template->Render(inputs);
  if (text.ok() && text->size() > kLimits.output_bytes_max) __builtin_trap();
  return 0;
}
