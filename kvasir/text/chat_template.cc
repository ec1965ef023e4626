#include "kvasir/text/chat_template.h"

#include <utility>

#include "kvasir/text/jinja_interpreter.h"
#include "kvasir/text/jinja_parser.h"

namespace kvasir {

struct ChatTemplate::Rep {
  ChatTemplateLimits limits;
  JinjaBody body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Rep> rep) : rep_(std::move(rep)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::Parse(std::string_view source,
                                         const ChatTemplateLimits& limits) {
  KVASIR_ASSIGN_OR_RETURN(JinjaBody body, JinjaParse(source, limits));
  return ChatTemplate(std::make_unique<const Rep>(Rep{limits, std::move(body)}));
}

Result<std::string> ChatTemplate::Render(const ChatInputs& inputs) const {
  JinjaInterpreter interpreter(rep_->limits);
  std::string now;
  if (inputs.extra.contains("strftime_now")) {
    const Json& time = inputs.extra["strftime_now"];
    if (!time.is_string()) return InvalidArgument("the input strftime_now must be a string");
    now = time.get<std::string>();
  }
  KVASIR_RETURN_IF_ERROR(JinjaDefineGlobals(interpreter, now));

  const auto define = [&](const std::string& name, const Json& json) -> Status {
    const Result<JinjaValue> value = JinjaFromJson(json, rep_->limits.depth_max);
    if (!value.ok()) return value.status().WithContext("the input " + name);
    interpreter.Define(name, *value);
    return OkStatus();
  };
  interpreter.Define("documents", JinjaValue());  // transformers always passes it
  if (inputs.extra.is_object()) {
    for (auto it = inputs.extra.begin(); it != inputs.extra.end(); ++it) {
      if (it.key() != "strftime_now") KVASIR_RETURN_IF_ERROR(define(it.key(), it.value()));
    }
  }
  KVASIR_RETURN_IF_ERROR(define("messages", inputs.messages));
  KVASIR_RETURN_IF_ERROR(define("tools", inputs.tools));
  interpreter.Define("add_generation_prompt", JinjaValue(inputs.add_generation_prompt));
  interpreter.Define("bos_token", JinjaValue(inputs.bos_token));
  interpreter.Define("eos_token", JinjaValue(inputs.eos_token));
  return interpreter.Run(rep_->body);
}

}  // namespace kvasir
