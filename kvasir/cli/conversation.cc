#include "kvasir/cli/conversation.h"

#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/base/json.h"
#include "kvasir/text/chat_template.h"

namespace kvasir {

namespace {

std::string TokenText(const Tokenizer& tokenizer, TokenId id) {
  return id == kNoToken ? std::string() : std::string(tokenizer.TokenBytes(id));
}

}  // namespace

Result<Conversation> Conversation::Create(const Tokenizer& tokenizer,
                                          const std::string& template_source, std::string system) {
  Conversation conversation(tokenizer);
  if (!template_source.empty()) {
    Result<ChatTemplate> parsed = ChatTemplate::Parse(template_source);
    if (!parsed.ok()) return parsed.status().WithContext("the model's chat template");
    conversation.template_ = std::make_unique<ChatTemplate>(std::move(*parsed));
  }
  conversation.Restart(std::move(system));
  return conversation;
}

Conversation::Conversation(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;
Conversation::~Conversation() = default;

void Conversation::RemoveLast() {
  KVASIR_CHECK(message_count() > 0);
  messages_.pop_back();
}

void Conversation::Reset() { messages_.resize(has_system_ ? 1 : 0); }

void Conversation::Restart(std::string system) {
  messages_.clear();
  has_system_ = !system.empty();
  if (has_system_) Add("system", std::move(system));
}

Result<std::vector<TokenId>> Conversation::Prompt() const {
  if (!has_template()) return tokenizer_->Encode(PlainPrompt());
  ChatInputs inputs;
  for (const Message& message : messages_) {
    inputs.messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  inputs.bos_token = TokenText(*tokenizer_, tokenizer_->bos());
  inputs.eos_token = TokenText(*tokenizer_, tokenizer_->eos());
  Result<std::string> text = template_->Render(inputs);
  if (!text.ok()) return text.status().WithContext("the model's chat template");
  // The template writes the special tokens itself.
  return tokenizer_->Encode(*text, {.add_special = false, .parse_special = true});
}

std::vector<std::string> Conversation::Stops() const {
  if (has_template()) return {};
  return {"\nUser:"};
}

std::string Conversation::PlainPrompt() const {
  std::string prompt;
  for (const Message& message : messages_) {
    if (message.role == "system") {
      prompt += message.content + "\n\n";
    } else {
      prompt += (message.role == "user" ? "User: " : "Assistant: ") + message.content + "\n";
    }
  }
  return prompt + "Assistant:";
}

}  // namespace kvasir
