#include "kvasir/eval/passkey.h"

#include <algorithm>
#include <memory>
#include <string>

#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/probe.h"

namespace kvasir {

Result<std::vector<PasskeyRow>> MeasurePasskey(Model& model, const Tokenizer& tokenizer,
                                               std::span<const TokenId> text,
                                               const PasskeyOptions& options) {
  const size_t context_length = model.spec().context_length;
  if (options.depth_tokens < kProbeTokensMin ||
      options.depth_tokens + kProbeTokensMin > context_length) {
    return InvalidArgument(
        "the depth of the pass key is " + std::to_string(options.depth_tokens) +
        " tokens, allowed is " + std::to_string(kProbeTokensMin) + " to " +
        std::to_string(context_length - std::min(context_length, kProbeTokensMin)));
  }
  if (text.size() < options.depth_tokens) {
    return InvalidArgument("the text has " + std::to_string(text.size()) +
                           " tokens, fewer than the depth of " +
                           std::to_string(options.depth_tokens));
  }
  KVASIR_ASSIGN_OR_RETURN(const KvBlockLayout layout,
                          KvLayoutFor(model, {.kv_format = options.kv_format}));
  KVASIR_ASSIGN_OR_RETURN(
      const std::unique_ptr<SequenceReader> reader,
      SequenceReader::Create(model, layout, options.depth_tokens + 2 * kProbeTokensMin));
  KVASIR_ASSIGN_OR_RETURN(const LogitRows logits, LogitRows::Create(model, options.chunk_tokens));
  std::vector<ProbeTally> tallies(options.readings.size());
  for (size_t i = 0; i < options.trial_count; ++i) {
    const ProbeTrial trial =
        MakePasskeyTrial(tokenizer, text, options.depth_tokens, i, options.trial_count);
    BlockTable context = reader->NewSequence();
    KVASIR_RETURN_IF_ERROR(reader->Read(
        trial.context, std::min(options.chunk_tokens, model.row_count_max()), context, {}));
    for (size_t way = 0; way < tallies.size(); ++way) {
      KVASIR_RETURN_IF_ERROR(AskProbe(*reader, context, trial.questions[0], options.readings[way],
                                      logits, &tallies[way]));
    }
    if (options.on_progress) options.on_progress(double(i + 1) / double(options.trial_count));
  }
  std::vector<PasskeyRow> rows;
  for (const ProbeTally& tally : tallies) rows.push_back({tally.found_count, tally.mean_nll()});
  return rows;
}

}  // namespace kvasir
