#include "kvasir/eval/probe.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kvasir/eval/prediction.h"

namespace kvasir {

namespace {

void AddToken(std::span<const float> logits, TokenId token, ProbeTally* tally, bool* is_found) {
  const Prediction prediction = Predict(logits);
  const bool is_hit = prediction.best == token;
  ++tally->token_count;
  tally->hit_count += is_hit;
  tally->nll += NegativeLogLikelihood(prediction, token);
  *is_found &= is_hit;
}

// Whole blocks, which a forked sequence shares without copying.
size_t WholeBlocks(size_t token_count) { return token_count / kKvBlockTokens * kKvBlockTokens; }

Status CheckOptions(const Model& model, std::span<const TokenId> text,
                    const KvProbeOptions& options) {
  const size_t context_max = model.spec().context_length;
  if (options.context_tokens < 2 * kProbeTokensMin || options.context_tokens > context_max) {
    return InvalidArgument("the context of the probes is " +
                           std::to_string(options.context_tokens) + " tokens, allowed is " +
                           std::to_string(2 * kProbeTokensMin) + " to " +
                           std::to_string(context_max));
  }
  if (text.size() < options.context_tokens) {
    return InvalidArgument("the text has " + std::to_string(text.size()) +
                           " tokens, fewer than the probes' context of " +
                           std::to_string(options.context_tokens));
  }
  return CheckTokens(model, text);
}

struct ProbeTrials {
  ProbeKind kind;
  std::vector<ProbeTrial> trials;
};

std::vector<ProbeTrials> MakeTrials(const Tokenizer& tokenizer, std::span<const TokenId> text,
                                    const KvProbeOptions& options) {
  const size_t depth = WholeBlocks(options.context_tokens - kProbeTokensMin);
  std::vector<ProbeTrials> probes;
  if (options.passkey_count > 0) {
    probes.push_back({ProbeKind::kPasskey, {}});
    for (size_t i = 0; i < options.passkey_count; ++i) {
      probes.back().trials.push_back(
          MakePasskeyTrial(tokenizer, text, depth, i, options.passkey_count));
    }
  }
  if (options.retrieval_count > 0) {
    probes.push_back(
        {ProbeKind::kRetrieval,
         {MakeRetrievalTrial(tokenizer, text, depth, options.retrieval_count, options.seed)}});
  }
  if (options.copy_count > 0) {
    probes.push_back({ProbeKind::kCopy, {}});
    for (size_t i = 0; i < options.copy_count; ++i) {
      probes.back().trials.push_back(
          MakeCopyTrial(text, WholeBlocks(options.context_tokens / 3), options.seed + i));
    }
  }
  return probes;
}

// All questions of a probe, with one format.
Result<ProbeTally> RunProbe(SequenceReader& reader, const ProbeTrials& probe, size_t chunk_tokens,
                            const LogitRows& logits) {
  ProbeTally tally;
  for (const ProbeTrial& trial : probe.trials) {
    BlockTable context = reader.NewSequence();
    KVASIR_RETURN_IF_ERROR(reader.Read(trial.context, chunk_tokens, context, {}));
    for (const ProbeQuestion& question : trial.questions) {
      KVASIR_RETURN_IF_ERROR(AskProbe(reader, context, question, {}, logits, &tally));
    }
  }
  return tally;
}

}  // namespace

std::string_view ProbeName(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::kPasskey:
      return "passkey";
    case ProbeKind::kRetrieval:
      return "retrieval";
    case ProbeKind::kCopy:
      return "copy";
  }
  return "unknown";
}

double ProbeTally::Score(ProbeKind kind) const {
  const bool by_token = kind == ProbeKind::kCopy;
  const size_t count = by_token ? token_count : question_count;
  return count == 0 ? 0 : double(by_token ? hit_count : found_count) / double(count);
}

Status AskProbe(SequenceReader& reader, const BlockTable& context, const ProbeQuestion& question,
                const DecodeReading& reading, const LogitRows& logits, ProbeTally* tally) {
  const std::vector<TokenId>& answer = question.answer;
  // The row of the last asked token predicts the answer's first, and so on; the answer's last token
  // is only predicted.
  std::vector<TokenId> read = question.asked;
  read.insert(read.end(), answer.begin(), answer.end() - 1);
  const size_t first_row = question.asked.size() - 1;
  BlockTable sequence = context.Fork();
  bool is_found = true;
  const auto add = [&](size_t row, std::span<const float> row_logits) {
    if (row >= first_row) AddToken(row_logits, answer[row - first_row], tally, &is_found);
  };
  if (reading.budget_tokens > 0) {
    const std::span<float> row_logits = logits.view().row_span(0);
    for (size_t row = 0; row < read.size(); ++row) {
      KVASIR_RETURN_IF_ERROR(reader.Decode(read[row], reading, sequence, row_logits));
      add(row, row_logits);
    }
  } else {
    KVASIR_RETURN_IF_ERROR(
        reader.ReadAll(read, sequence, logits.view(), [&](size_t first, MatrixView<float> rows) {
          for (size_t i = 0; i < rows.rows(); ++i) add(first + i, rows.row_span(i));
        }));
  }
  ++tally->question_count;
  tally->found_count += is_found;
  return OkStatus();
}

Result<std::vector<KvProbeRow>> MeasureKvProbes(Model& model, const Tokenizer& tokenizer,
                                                std::span<const TokenId> text,
                                                const KvProbeOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(model, text, options));
  const std::vector<ProbeTrials> probes = MakeTrials(tokenizer, text, options);
  KVASIR_ASSIGN_OR_RETURN(const LogitRows logits, LogitRows::Create(model, options.chunk_tokens));
  const size_t chunk_tokens = std::min(options.chunk_tokens, model.row_count_max());
  std::vector<KvProbeRow> rows;
  for (const ProbeTrials& probe : probes) rows.push_back({probe.kind, {}, {}});

  std::vector<KvBlockLayout> layouts = {model.KvLayout(KvFormat::kBF16)};
  layouts.insert(layouts.end(), options.layouts.begin(), options.layouts.end());
  for (size_t f = 0; f < layouts.size(); ++f) {
    // Beside the context a question and its answer, whatever they are in this vocabulary.
    KVASIR_ASSIGN_OR_RETURN(
        const std::unique_ptr<SequenceReader> reader,
        SequenceReader::Create(model, layouts[f], options.context_tokens + kProbeTokensMin));
    for (size_t p = 0; p < probes.size(); ++p) {
      if (f > 0 && layouts[f] == layouts[0]) {
        rows[p].tallies.push_back(rows[p].reference);
        continue;
      }
      KVASIR_ASSIGN_OR_RETURN(const ProbeTally tally,
                              RunProbe(*reader, probes[p], chunk_tokens, logits));
      if (f == 0) {
        rows[p].reference = tally;
      } else {
        rows[p].tallies.push_back(tally);
      }
      if (options.on_progress) {
        options.on_progress(double(f * probes.size() + p + 1) /
                            double(layouts.size() * probes.size()));
      }
    }
  }
  return rows;
}

}  // namespace kvasir
