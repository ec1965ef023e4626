#include "kvasir/eval/kv_quality.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kvasir/eval/sequence_reader.h"

namespace kvasir {

namespace {

Status CheckOptions(const Model& model, std::span<const TokenId> tokens,
                    const KvQualityOptions& options) {
  const size_t context = options.context_tokens, context_max = model.spec().context_length;
  if (context < 2 || context > context_max) {
    return InvalidArgument("the context is " + std::to_string(context) +
                           " tokens; this model takes 2 to " + std::to_string(context_max));
  }
  if (options.window_count_max == 0 || options.chunk_tokens == 0) {
    return InvalidArgument("windows and the chunk must be at least 1");
  }
  if (options.first_scored_token < 1 || options.first_scored_token >= context) {
    return InvalidArgument("the first scored token is number " +
                           std::to_string(options.first_scored_token) + " of a window of " +
                           std::to_string(context) + "; allowed is 1 to one less");
  }
  if (options.decode_tokens >= context) {
    return InvalidArgument(std::to_string(options.decode_tokens) +
                           " decoded tokens leave nothing of a window of " +
                           std::to_string(context) + " to read before");
  }
  if (tokens.size() < context) {
    return InvalidArgument("the text has " + std::to_string(tokens.size()) +
                           " tokens, fewer than one window of " + std::to_string(context));
  }
  return CheckTokens(model, tokens);
}

KvBlockLayout ReferenceLayout(const Model& model) { return model.KvLayout(KvFormat::kBF16); }

// One format on its way through the text.
struct FormatRun {
  std::unique_ptr<SequenceReader> reader;
  std::optional<BlockTable> sequence;  // of the current window
  std::vector<TokenScore> scores;      // all scored rows, window by window
  std::vector<TokenScore> decode_scores;
};

// The runs of all formats, the reference first, and the logits of the piece they are at.
class LockstepRuns {
 public:
  static Result<LockstepRuns> Create(Model& model, ThreadPool& pool,
                                     const KvQualityOptions& options);

  // Reads a window in pieces and scores the rows that the options say.
  Status ReadWindow(std::span<const TokenId> window);
  // Reads the same window again and decodes its last rows one by one.
  Status DecodeWindow(std::span<const TokenId> window);

  std::span<const FormatRun> runs() const { return runs_; }

 private:
  using Scores = std::vector<TokenScore> FormatRun::*;

  LockstepRuns(ThreadPool& pool, const KvQualityOptions& options)
      : pool_(pool), options_(options) {}
  // Appends window[begin, begin + count) to every run's sequence; with `scores`, a score of each
  // row against the reference is appended to those of its run.
  Status Score(std::span<const TokenId> window, size_t begin, size_t count, Scores scores);
  Status ReadUnscored(std::span<const TokenId> tokens);
  void StartSequences();

  ThreadPool& pool_;
  const KvQualityOptions& options_;
  std::vector<FormatRun> runs_;
  LogitRows reference_logits_, logits_;     // [rows, vocab_size]
  std::vector<Prediction> reference_rows_;  // of the piece
};

Result<LockstepRuns> LockstepRuns::Create(Model& model, ThreadPool& pool,
                                          const KvQualityOptions& options) {
  LockstepRuns made(pool, options);
  std::vector<KvBlockLayout> layouts = {ReferenceLayout(model)};
  for (const KvBlockLayout& layout : options.layouts) {
    if (layout != layouts[0]) layouts.push_back(layout);
  }
  for (const KvBlockLayout& layout : layouts) {
    KVASIR_ASSIGN_OR_RETURN(auto reader,
                            SequenceReader::Create(model, layout, options.context_tokens));
    made.runs_.push_back({std::move(reader), std::nullopt, {}, {}});
  }
  KVASIR_ASSIGN_OR_RETURN(made.reference_logits_, LogitRows::Create(model, options.chunk_tokens));
  KVASIR_ASSIGN_OR_RETURN(made.logits_, LogitRows::Create(model, options.chunk_tokens));
  return made;
}

void LockstepRuns::StartSequences() {
  for (FormatRun& run : runs_) {
    run.sequence.reset();  // its blocks are free for the next one
    run.sequence.emplace(run.reader->NewSequence());
  }
}

Status LockstepRuns::ReadUnscored(std::span<const TokenId> tokens) {
  const size_t chunk_tokens = std::min(options_.chunk_tokens, logits_.view().rows());
  for (FormatRun& run : runs_) {
    KVASIR_RETURN_IF_ERROR(run.reader->Read(tokens, chunk_tokens, *run.sequence, {}));
  }
  return OkStatus();
}

Status LockstepRuns::Score(std::span<const TokenId> window, size_t begin, size_t count,
                           Scores scores) {
  for (FormatRun& run : runs_) {
    const bool is_reference = &run == &runs_[0];
    const MatrixView<float> rows =
        (is_reference ? reference_logits_ : logits_).view().Rows(0, count);
    KVASIR_RETURN_IF_ERROR(
        run.reader->ReadPiece(window.subspan(begin, count), *run.sequence, rows));
    std::vector<TokenScore>& all = run.*scores;
    all.resize(all.size() + count);
    reference_rows_.resize(count);
    pool_.ParallelFor(count, [&](size_t i, size_t) {
      TokenScore& score = all[all.size() - count + i];
      const Prediction prediction = Predict(rows.row_span(i));
      score.nll = NegativeLogLikelihood(prediction, window[begin + i + 1]);
      if (is_reference) {
        reference_rows_[i] = prediction;
      } else {
        score.kl = KlDivergence(reference_rows_[i], prediction);
        score.is_agreed = reference_rows_[i].best == prediction.best;
      }
    });
  }
  return OkStatus();
}

Status LockstepRuns::ReadWindow(std::span<const TokenId> window) {
  StartSequences();
  // Row i predicts token i + 1; the last token is only predicted, never read.
  const size_t first_row = options_.first_scored_token - 1;
  KVASIR_RETURN_IF_ERROR(ReadUnscored(window.first(first_row)));
  for (size_t begin = first_row; begin + 1 < window.size();) {
    const size_t count = std::min(logits_.view().rows(), window.size() - 1 - begin);
    KVASIR_RETURN_IF_ERROR(Score(window, begin, count, &FormatRun::scores));
    begin += count;
  }
  return OkStatus();
}

Status LockstepRuns::DecodeWindow(std::span<const TokenId> window) {
  StartSequences();
  const size_t first_row = window.size() - 1 - options_.decode_tokens;
  KVASIR_RETURN_IF_ERROR(ReadUnscored(window.first(first_row)));
  for (size_t row = first_row; row + 1 < window.size(); ++row) {
    KVASIR_RETURN_IF_ERROR(Score(window, row, 1, &FormatRun::decode_scores));
  }
  return OkStatus();
}

// Decoded rows with the scores that they have among all scored rows of their window.
size_t CountSame(const FormatRun& run, size_t window_count) {
  const size_t scored = run.scores.size() / window_count;
  const size_t decoded = run.decode_scores.size() / window_count;
  size_t same = 0;
  for (size_t window = 0; window < window_count; ++window) {
    for (size_t i = 0; i < std::min(scored, decoded); ++i) {
      same += run.scores[(window + 1) * scored - 1 - i] ==
              run.decode_scores[(window + 1) * decoded - 1 - i];
    }
  }
  return same;
}

}  // namespace

Result<KvQualityResult> MeasureKvQuality(Model& model, ThreadPool& pool,
                                         std::span<const TokenId> tokens,
                                         const KvQualityOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(model, tokens, options));
  KVASIR_ASSIGN_OR_RETURN(LockstepRuns lockstep, LockstepRuns::Create(model, pool, options));
  KvQualityResult result;
  result.window_count = std::min(tokens.size() / options.context_tokens, options.window_count_max);
  for (size_t window = 0; window < result.window_count; ++window) {
    const auto text = tokens.subspan(window * options.context_tokens, options.context_tokens);
    KVASIR_RETURN_IF_ERROR(lockstep.ReadWindow(text));
    if (options.decode_tokens > 0) KVASIR_RETURN_IF_ERROR(lockstep.DecodeWindow(text));
    if (options.on_progress) options.on_progress(double(window + 1) / double(result.window_count));
  }
  result.reference = Summarize(lockstep.runs()[0].scores);
  for (const KvBlockLayout& layout : options.layouts) {
    const FormatRun& run = *std::find_if(
        lockstep.runs().begin(), lockstep.runs().end(),
        [&](const FormatRun& candidate) { return candidate.reader->pool().layout() == layout; });
    KvQualityRow row;
    row.bits_per_element = layout.bits_per_element();
    row.bytes_per_token = layout.bytes_per_token();
    row.rotated = layout.rotates();
    row.open_blocks = layout.open_blocks;
    row.quality = Summarize(run.scores);
    if (options.decode_tokens > 0) {
      row.decode = Summarize(run.decode_scores);
      row.decode_same_count = CountSame(run, result.window_count);
    }
    result.rows.push_back(std::move(row));
  }
  return result;
}

}  // namespace kvasir
