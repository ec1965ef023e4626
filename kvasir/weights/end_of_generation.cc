#include "kvasir/weights/end_of_generation.h"

#include <algorithm>
#include <iterator>

namespace kvasir {

namespace {

constexpr std::string_view kWellKnownEnds[] = {
    "<|eot_id|>",       // Llama 3, end of turn
    "<|eom_id|>",       // Llama 3, end of a message that calls a tool
    "<|end_of_text|>",  // Llama 3
    "<|im_end|>",       // ChatML: Qwen, SmolLM
    "<|endoftext|>",    // GPT-2 and its heirs
    "<end_of_turn>",    // Gemma
};

}  // namespace

void EndOfGeneration::Add(TokenId id) {
  if (id != kNoToken && std::find(ids_.begin(), ids_.end(), id) == ids_.end()) ids_.push_back(id);
}

void EndOfGeneration::Consider(std::string_view token, TokenId id, bool is_control) {
  if (std::find(std::begin(kWellKnownEnds), std::end(kWellKnownEnds), token) ==
      std::end(kWellKnownEnds)) {
    return;
  }
  if (is_control || chat_template_.find(token) != std::string_view::npos) Add(id);
}

}  // namespace kvasir
