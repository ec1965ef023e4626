// EndOfGeneration: collects the ids that end an answer. Files name one or a few; but chat models
// also end turns with control tokens that no field names, and a model that says "<|im_end|>" must
// stop whatever its metadata forgot. For one thread at a time.

#ifndef KVASIR_WEIGHTS_END_OF_GENERATION_H_
#define KVASIR_WEIGHTS_END_OF_GENERATION_H_

#include <string_view>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

class EndOfGeneration {
 public:
  // `chat_template` may be empty; it must outlive this object.
  explicit EndOfGeneration(std::string_view chat_template) : chat_template_(chat_template) {}

  // Adds an id that the file names; kNoToken and repetitions are ignored.
  void Add(TokenId id);
  // Adds the vocabulary entry if it is a well-known end of turn or text and either a control token
  // or used by the chat template.
  void Consider(std::string_view token, TokenId id, bool is_control);

  const std::vector<TokenId>& ids() const { return ids_; }

 private:
  std::string_view chat_template_;
  std::vector<TokenId> ids_;
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_END_OF_GENERATION_H_
