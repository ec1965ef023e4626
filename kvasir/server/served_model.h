// ServedModel: what the handlers need of a loaded model: its names, its text side and the engine
// loop that runs it. Made by whoever loads models (cli/serve.cc), owned by the Server. All of it
// may be used from any thread.

#ifndef KVASIR_SERVER_SERVED_MODEL_H_
#define KVASIR_SERVER_SERVED_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"
#include "kvasir/engine/engine_loop.h"
#include "kvasir/server/openai_request.h"
#include "kvasir/text/chat_template.h"
#include "kvasir/text/literal_marker.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

class ServedModel {
 public:
  struct Parts {
    std::vector<std::string> names;  // the first one is its id, the others aliases; at least one
    int64_t created_s = 0;           // since 1970
    Json details = Json::object();   // "meta" in /v1/models
    std::shared_ptr<const Tokenizer> tokenizer;
    std::string chat_template;  // Jinja source, may be empty
    std::unique_ptr<EngineLoop> loop;
    // What must live as long as the loop: weights, threads.
    std::shared_ptr<void> resources;
  };

  // kInvalidArgument when the template cannot be read.
  static Result<std::unique_ptr<ServedModel>> Create(Parts parts);

  const std::string& id() const { return parts_.names[0]; }
  const std::vector<std::string>& names() const { return parts_.names; }
  bool HasName(const std::string& name) const;
  int64_t created_s() const { return parts_.created_s; }
  const Json& details() const { return parts_.details; }
  const Tokenizer& tokenizer() const { return *parts_.tokenizer; }
  EngineLoop& loop() const { return *parts_.loop; }
  size_t context_tokens() const { return parts_.loop->context_tokens(); }
  bool has_chat_template() const { return template_ != nullptr; }

  // The prompt that the template makes of a chat, as text. Nothing that a message says becomes a
  // special token in `*tokens` (null when not wanted).
  ApiError RenderChat(const ChatRequest& request, std::string* text,
                      std::vector<TokenId>* tokens) const;
  // The tokens of a text completion's prompt.
  std::vector<TokenId> EncodePrompt(const Prompt& prompt) const;

  ~ServedModel();

 private:
  explicit ServedModel(Parts parts);

  Parts parts_;
  std::unique_ptr<ChatTemplate> template_;
  LiteralMarker marker_;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_SERVED_MODEL_H_
