// ChatTemplate: messages -> prompt, by the Jinja template that came with the model. A template is
// code from a stranger: it is parsed into a tree once and interpreted with limits on steps, output
// size and depth; it can reach nothing but the values it is given. Immutable after Parse; any
// thread may render.

#ifndef KVASIR_TEXT_CHAT_TEMPLATE_H_
#define KVASIR_TEXT_CHAT_TEMPLATE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace kvasir {

struct ChatTemplateLimits {
  size_t source_bytes_max = 1 << 20;
  size_t output_bytes_max = 64 << 20;  // also bounds every string built on the way
  size_t steps_max = 10'000'000;       // nodes evaluated
  size_t depth_max = 128;              // nested expressions, blocks and macro calls
};

// What a template may use. `extra` holds further top-level variables (enable_thinking, documents
// ...); it wins over none of the named ones. Its member "strftime_now" ("2024-07-26T12:00:00") is
// no variable but the time that strftime_now() tells instead of the local clock. A token that the
// model does not have is the empty string.
struct ChatInputs {
  Json messages = Json::array();  // [{"role", "content", ...}], as the OpenAI API has them
  Json tools = nullptr;           // array of tools, or null
  bool add_generation_prompt = true;
  std::string bos_token;
  std::string eos_token;
  Json extra = Json::object();
};

class ChatTemplate {
 public:
  // kInvalidArgument names the line and what was not understood.
  static Result<ChatTemplate> Parse(std::string_view source, const ChatTemplateLimits& limits = {});

  // kInvalidArgument carries the message of raise_exception() or of the failing expression with its
  // line; kResourceExhausted names the limit that was hit.
  Result<std::string> Render(const ChatInputs& inputs) const;

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

 private:
  struct Rep;
  explicit ChatTemplate(std::unique_ptr<const Rep> rep);
  std::unique_ptr<const Rep> rep_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_CHAT_TEMPLATE_H_
