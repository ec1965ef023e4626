#include "kvasir/server/served_model.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

std::string TokenText(const Tokenizer& tokenizer, TokenId id) {
  return id == kNoToken ? std::string() : std::string(tokenizer.TokenBytes(id));
}

}  // namespace

Result<std::unique_ptr<ServedModel>> ServedModel::Create(Parts parts) {
  KVASIR_CHECK(!parts.names.empty() && parts.tokenizer != nullptr && parts.loop != nullptr);
  const std::string source = parts.chat_template;
  auto model = std::unique_ptr<ServedModel>(new ServedModel(std::move(parts)));
  if (!source.empty()) {
    Result<ChatTemplate> parsed = ChatTemplate::Parse(source);
    if (!parsed.ok()) return parsed.status().WithContext("the model's chat template");
    model->template_ = std::make_unique<ChatTemplate>(std::move(*parsed));
  }
  return model;
}

ServedModel::ServedModel(Parts parts) : parts_(std::move(parts)), marker_(*parts_.tokenizer) {}

// The loop ends before what it runs on.
ServedModel::~ServedModel() { parts_.loop.reset(); }

bool ServedModel::HasName(const std::string& name) const {
  return std::find(parts_.names.begin(), parts_.names.end(), name) != parts_.names.end();
}

ApiError ServedModel::RenderChat(const ChatRequest& request, std::string* text,
                                 std::vector<TokenId>* tokens) const {
  if (template_ == nullptr) {
    return UnsupportedError("messages",
                            "this model has no chat template: use /v1/completions instead");
  }
  // One value, so that one mark serves all of it.
  Json values = {{"messages", request.messages}, {"extra", request.template_variables}};
  std::string mark;
  if (!marker_.MarkAll(&values, &mark)) {
    return InvalidValueError("messages", "the messages use every noncharacter from U+FDD0 on");
  }
  ChatInputs inputs;
  inputs.messages = std::move(values["messages"]);
  inputs.extra = std::move(values["extra"]);
  // Not a client's to set: the limits of a template hold, its clock is the server's.
  inputs.extra.erase("strftime_now");
  inputs.add_generation_prompt = request.add_generation_prompt;
  inputs.bos_token = TokenText(tokenizer(), tokenizer().bos());
  inputs.eos_token = TokenText(tokenizer(), tokenizer().eos());
  Result<std::string> rendered = template_->Render(inputs);
  if (!rendered.ok()) {
    return InvalidValueError("messages", "the model's chat template refuses these messages: " +
                                             RemoveMark(rendered.status().message(), mark));
  }
  if (tokens != nullptr) {
    *tokens = tokenizer().Encode(
        *rendered, {.add_special = false, .parse_special = true, .literal_mark = mark});
  }
  if (text != nullptr) *text = RemoveMark(*rendered, mark);
  return {};
}

std::vector<TokenId> ServedModel::EncodePrompt(const Prompt& prompt) const {
  if (const auto* tokens = std::get_if<std::vector<TokenId>>(&prompt)) return *tokens;
  return tokenizer().Encode(std::get<std::string>(prompt));
}

}  // namespace kvasir
