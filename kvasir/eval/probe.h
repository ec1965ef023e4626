// Probe: questions whose answer stands in the context, word for word, and nowhere else: a passkey
// told once in a long text, one of many records by its name, a random sequence from its first
// token. What counts is whether the answer's tokens are the most likely ones, each given those
// before it. The trials are made from a seed and the text's tokens alone, so that every cache
// format is asked the same. One thread, which owns the model's pool.

#ifndef KVASIR_EVAL_PROBE_H_
#define KVASIR_EVAL_PROBE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

struct ProbeQuestion {
  std::vector<TokenId> asked;   // behind the context, at least one token
  std::vector<TokenId> answer;  // behind that, at least one token
};
struct ProbeTrial {
  std::vector<TokenId> context;
  std::vector<ProbeQuestion> questions;  // each asked behind the context alone
};

enum class ProbeKind : uint8_t {
  kPasskey,    // five digits, told at one place of the text; one question a trial
  kRetrieval,  // records "UUID: six digits" behind a piece of the text; asked for by their keys
  kCopy,       // random tokens three times; the first token of the third time is the question
};
inline constexpr ProbeKind kProbeKinds[] = {ProbeKind::kPasskey, ProbeKind::kRetrieval,
                                            ProbeKind::kCopy};
std::string_view ProbeName(ProbeKind kind);  // "passkey", "retrieval", "copy"

// Passkey number `trial` of `trial_count`: told (2 trial + 1) / (2 trial_count) into the text, in a
// context of `depth_tokens` tokens. REQUIRES kProbeTokensMin <= depth_tokens <= text.size().
ProbeTrial MakePasskeyTrial(const Tokenizer& tokenizer, std::span<const TokenId> text,
                            size_t depth_tokens, size_t trial, size_t trial_count);
// One trial of retrieval with up to `question_count` questions, evenly spread over the records.
// REQUIRES the same.
ProbeTrial MakeRetrievalTrial(const Tokenizer& tokenizer, std::span<const TokenId> text,
                              size_t depth_tokens, size_t question_count, uint64_t seed);
// `length` tokens drawn from those of the text, each of them equally likely, are the context twice
// over: one time alone is not enough for a small model. REQUIRES a text of two tokens and a length
// of 2 at least.
ProbeTrial MakeCopyTrial(std::span<const TokenId> text, size_t length, uint64_t seed);

// What is told, asked and answered has fewer bytes, and so fewer tokens in any vocabulary.
inline constexpr size_t kProbeTokensMin = 128;

struct ProbeTally {
  size_t question_count = 0;
  size_t found_count = 0;  // questions of whose answer every token was the most likely one
  size_t token_count = 0;  // of all answers
  size_t hit_count = 0;    // those that were the most likely ones
  double nll = 0;          // their sum, natural logarithms

  double mean_nll() const { return token_count == 0 ? 0 : nll / double(token_count); }
  // 0..1: found questions for passkeys and records, tokens for copies.
  double Score(ProbeKind kind) const;
};
// Asks behind `context` and adds up how the answer fares. `reading` says how; whole reading takes
// the pieces that `logits` has rows for, selective reading goes token by token.
Status AskProbe(SequenceReader& reader, const BlockTable& context, const ProbeQuestion& question,
                const DecodeReading& reading, const LogitRows& logits, ProbeTally* tally);

struct KvProbeOptions {
  std::vector<KvBlockLayout> layouts;  // of this model; the reference, bf16, may be among them
  // Tokens of context, question and answer together, at least 2 * kProbeTokensMin.
  size_t context_tokens = 2048;
  size_t passkey_count = 10;    // trials, 0 for none
  size_t retrieval_count = 16;  // questions, 0 for none
  size_t copy_count = 2;        // trials, 0 for none
  uint64_t seed = 1;
  size_t chunk_tokens = 512;
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};
struct KvProbeRow {
  ProbeKind kind;
  ProbeTally reference;             // with keys and values in bf16
  std::vector<ProbeTally> tallies;  // by layout

  // Whether the model can do it at all: a format cannot spoil what does not work without it.
  bool is_applicable() const { return reference.Score(kind) >= 0.8; }
};
// A row for each probe with a count. kInvalidArgument for a context that the model or the text does
// not fill.
Result<std::vector<KvProbeRow>> MeasureKvProbes(Model& model, const Tokenizer& tokenizer,
                                                std::span<const TokenId> text,
                                                const KvProbeOptions& options);

}  // namespace kvasir

#endif  // KVASIR_EVAL_PROBE_H_
