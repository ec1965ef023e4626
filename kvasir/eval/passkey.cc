#include "kvasir/eval/passkey.h"

#include <algorithm>
#include <memory>
#include <string>

#include "kvasir/eval/perplexity.h"

namespace kvasir {

namespace {

// Five digits, the same in every run.
std::string PasskeyOfTrial(size_t trial) { return std::to_string(10007 + trial * 14737 % 89989); }

// One trial: what is told, what is asked, and what should be answered.
struct Trial {
  std::vector<TokenId> context;
  std::vector<TokenId> question;
  std::vector<TokenId> answer;
};

std::vector<TokenId> Encode(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.Encode(text, {.add_special = false, .parse_special = false});
}

Trial MakeTrial(const Tokenizer& tokenizer, std::span<const TokenId> text,
                const PasskeyOptions& options, size_t trial) {
  const std::string key = PasskeyOfTrial(trial);
  const std::vector<TokenId> told = Encode(
      tokenizer, "\n\nThe pass key is " + key + ". Remember it. " + key + " is the pass key.\n\n");
  Trial made;
  made.question = Encode(tokenizer, "\n\nWhat is the pass key? The pass key is");
  made.answer = Encode(tokenizer, " " + key);
  const size_t text_tokens = options.depth_tokens - told.size();
  const size_t place = text_tokens * (2 * trial + 1) / (2 * options.trial_count);
  made.context.assign(text.begin(), text.begin() + ptrdiff_t(text_tokens));
  made.context.insert(made.context.begin() + ptrdiff_t(place), told.begin(), told.end());
  return made;
}

// Asks behind `context` and adds up how the answer fares.
Status Ask(SequenceReader& reader, const BlockTable& context, const Trial& trial,
           const DecodeReading& reading, std::span<float> logits, PasskeyRow* row) {
  BlockTable sequence = context.Fork();
  for (const TokenId token : trial.question) {
    KVASIR_RETURN_IF_ERROR(reader.Decode(token, reading, sequence, logits));
  }
  bool is_found = true;
  double nll = 0;
  for (const TokenId token : trial.answer) {
    is_found &= MostLikely(logits) == token;
    nll += NegativeLogLikelihood(logits, token);
    KVASIR_RETURN_IF_ERROR(reader.Decode(token, reading, sequence, logits));
  }
  row->found_count += is_found;
  row->mean_nll += nll / double(trial.answer.size());
  return OkStatus();
}

}  // namespace

Result<std::vector<PasskeyRow>> MeasurePasskey(Model& model, const Tokenizer& tokenizer,
                                               std::span<const TokenId> text,
                                               const PasskeyOptions& options) {
  // Number, question and answer are some 60 tokens, in any vocabulary fewer than 128.
  constexpr size_t kExtraTokens = 128;
  const size_t context_length = model.spec().context_length;
  if (options.depth_tokens < kExtraTokens || options.depth_tokens + kExtraTokens > context_length) {
    return InvalidArgument("the depth of the pass key is " + std::to_string(options.depth_tokens) +
                           " tokens, allowed is " + std::to_string(kExtraTokens) + " to " +
                           std::to_string(context_length - std::min(context_length, kExtraTokens)));
  }
  if (text.size() < options.depth_tokens) {
    return InvalidArgument("the text has " + std::to_string(text.size()) +
                           " tokens, fewer than the depth of " +
                           std::to_string(options.depth_tokens));
  }
  KVASIR_ASSIGN_OR_RETURN(
      const std::unique_ptr<SequenceReader> reader,
      SequenceReader::Create(model, options.kv_format, options.depth_tokens + 2 * kExtraTokens));
  std::vector<PasskeyRow> rows(options.readings.size());
  std::vector<float> logits(model.spec().vocab_size);
  for (size_t i = 0; i < options.trial_count; ++i) {
    const Trial trial = MakeTrial(tokenizer, text, options, i);
    BlockTable context = reader->NewSequence();
    KVASIR_RETURN_IF_ERROR(reader->Read(
        trial.context, std::min(options.chunk_tokens, model.row_count_max()), context, logits));
    for (size_t way = 0; way < rows.size(); ++way) {
      KVASIR_RETURN_IF_ERROR(
          Ask(*reader, context, trial, options.readings[way], logits, &rows[way]));
    }
    if (options.on_progress) options.on_progress(double(i + 1) / double(options.trial_count));
  }
  for (PasskeyRow& row : rows) row.mean_nll /= double(std::max<size_t>(options.trial_count, 1));
  return rows;
}

}  // namespace kvasir
