// PreTokenizer: cuts a stretch of text into the pieces over which merges never reach (words, runs
// of digits ...): a list of steps, each cutting the pieces of the one before. Immutable after the
// steps are added; any thread may use it.

#ifndef KVASIR_TEXT_PRE_TOKENIZER_H_
#define KVASIR_TEXT_PRE_TOKENIZER_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kvasir/text/regex.h"

namespace kvasir {

// What becomes of the matches of a splitting pattern.
enum class SplitBehavior {
  kIsolated,            // pieces of their own
  kRemoved,             // dropped
  kMergedWithPrevious,  // ends of the pieces before them
  kMergedWithNext,      // beginnings of the pieces behind them
  kContiguous,          // neighbouring matches are one piece
};

// Cuts at the matches of an expression, or, inverted, at what lies between them.
struct SplitStep {
  std::variant<Regex, std::string> pattern;  // a string stands for itself and is not empty
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};

// Puts `text` before a piece.
struct PrefixStep {
  std::string text;
  bool only_if_missing = false;  // not before a piece that begins with it
  bool only_at_text_start = false;
};

// Replaces every `from` in a piece. REQUIRES from not empty.
struct PieceReplaceStep {
  std::string from;
  std::string to;
};

using PreTokenizerStep = std::variant<SplitStep, PrefixStep, PieceReplaceStep>;

class PreTokenizer {
 public:
  using Sink = std::function<void(std::string_view piece)>;

  void Add(PreTokenizerStep step) { steps_.push_back(std::move(step)); }

  // Calls `sink` with the pieces of `text` in order, none of them empty. Malformed UTF-8 is cut off
  // first: runs of such bytes are pieces of their own. `at_text_start`: the stretch begins where
  // the whole text begins.
  void Split(std::string_view text, bool at_text_start, const Sink& sink) const;

 private:
  void Run(size_t step, std::string_view piece, bool at_text_start, const Sink& sink) const;

  std::vector<PreTokenizerStep> steps_;
};

// The pre-tokenizer of GGUF's tokenizer.ggml.pre for byte-level BPE, with what else hangs on it.
struct NamedPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool normalize_nfc = false;  // the original tokenizer brings its text into NFC
  bool ignore_merges = false;  // a piece that is a token stays whole, whatever the merges say
};

// kUnimplemented names an unknown `pre` and lists the known ones. The empty name (older files)
// means GPT-2's.
Result<NamedPreTokenizer> MakeNamedPreTokenizer(std::string_view pre);

// GPT-2's expression, which byte-level BPE without another one uses.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace kvasir

#endif  // KVASIR_TEXT_PRE_TOKENIZER_H_
