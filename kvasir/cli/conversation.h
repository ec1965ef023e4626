// Conversation: the messages so far, and the prompt that they make: by the model's own chat
// template, or as plain "User: ... Assistant:" lines when it has none. One thread.

#ifndef KVASIR_CLI_CONVERSATION_H_
#define KVASIR_CLI_CONVERSATION_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

class ChatTemplate;

class Conversation {
 public:
  // `template_source` may be empty. `system` is the first message, unless it is empty. `tokenizer`
  // must outlive the conversation. kInvalidArgument when the template cannot be read.
  static Result<Conversation> Create(const Tokenizer& tokenizer, const std::string& template_source,
                                     std::string system);

  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  ~Conversation();

  void AddUser(std::string text) { Add("user", std::move(text)); }
  void AddAssistant(std::string text) { Add("assistant", std::move(text)); }
  // Takes back the last message. REQUIRES message_count() > 0.
  void RemoveLast();
  // Forgets everything but the system message.
  void Reset();
  // Replaces the system message, or drops it when `system` is empty, and forgets the rest.
  void Restart(std::string system);

  // The prompt for the assistant's next message, as tokens. kInvalidArgument carries what the
  // template says about the messages (some refuse a system message, for example).
  Result<std::vector<TokenId>> Prompt() const;
  // Texts that end an answer besides the model's own end tokens.
  std::vector<std::string> Stops() const;

  bool has_template() const { return template_ != nullptr; }
  // Messages behind the system message.
  size_t message_count() const { return messages_.size() - (has_system_ ? 1 : 0); }

 private:
  struct Message {
    std::string role;
    std::string content;
  };

  explicit Conversation(const Tokenizer& tokenizer);
  void Add(const char* role, std::string text) { messages_.push_back({role, std::move(text)}); }
  std::string PlainPrompt() const;

  const Tokenizer* tokenizer_;
  std::unique_ptr<ChatTemplate> template_;
  std::vector<Message> messages_;
  bool has_system_ = false;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_CONVERSATION_H_
