// ReplyFormat: what a chat's and a text completion's answers look like, whole and as a stream's
// chunks. Text in, JSON text out. Immutable; any thread.

#ifndef KVASIR_SERVER_REPLY_FORMAT_H_
#define KVASIR_SERVER_REPLY_FORMAT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/server/answer_text.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

struct ReplyUsage {
  size_t prompt_tokens = 0;
  size_t cached_tokens = 0;       // of the prompt: found in the cache
  size_t disk_tokens = 0;         // of the cached ones: on disk, not in memory
  size_t cache_write_tokens = 0;  // of the prompt: left in the cache, newly
  size_t completion_tokens = 0;
};

// A whole answer.
struct ReplyChoice {
  std::string text;
  std::vector<ShownToken> tokens;  // with logprobs or token ids asked for; the echoed prompt first
  std::string finish_reason;
};

struct ReplyOptions {
  std::string request_id;
  std::string model;
  int64_t created_s = 0;
  bool logprobs = false;
  bool token_ids = false;
  bool include_usage = false;  // chunks say "usage": null then
};

class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;
  // `tokenizer` must outlive the format.
  static std::unique_ptr<ReplyFormat> Chat(ReplyOptions options, const Tokenizer& tokenizer);
  static std::unique_ptr<ReplyFormat> Completion(ReplyOptions options, const Tokenizer& tokenizer);

  // The chunk before any text of a choice; empty when the format has none.
  virtual std::string FirstChunk(size_t choice) const = 0;
  // `token_offset_chars`: characters of the choice's text before this piece.
  virtual std::string TextChunk(size_t choice, const AnswerPiece& piece,
                                size_t offset_chars) const = 0;
  virtual std::string LastChunk(size_t choice, std::string_view finish_reason) const = 0;
  virtual std::string UsageChunk(const ReplyUsage& usage) const = 0;
  virtual std::string Whole(const std::vector<ReplyChoice>& choices,
                            const ReplyUsage& usage) const = 0;
};

// "data: TEXT\n\n". REQUIRES a text without line breaks, as JSON is.
std::string SseEvent(std::string_view text);

// Characters, not bytes, of well-formed UTF-8.
size_t CountCharacters(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_SERVER_REPLY_FORMAT_H_
