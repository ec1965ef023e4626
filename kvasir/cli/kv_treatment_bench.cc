// What treatments of keys and values would cost in quality, those included that the cache does not
// have: blocks of the beginning or the latest ones left as they are, keys without the mean of their
// page, rotation or none, in any combination. For decisions about formats (docs/kv_formats.md):
//
//   kv_treatment_bench --text FILE [--model FILE] [--context N] [--windows N] [--json] TREATMENT...
//
// A treatment is "int4", or with words behind it: "int4+sinks=1+recent=4+centred+plain".
//
//   sinks=N    the first N blocks of a sequence are never encoded
//   recent=N   neither are the N blocks before a row's own, for that row
//   group=N    blocks are encoded N together, when the last one is complete: a row reads its own
//              group as it is
//   centred    keys are encoded without the mean of their page and head, which is kept in f16
//   plain      not rotated
//
// How: pages are in f32, the text is read in pieces of one block, and when a layer's attention has
// read them, the pages that are due become what encoding and decoding leaves of them
// (formats/kv_codec.h). So a row meets the numbers that it would meet in a cache of that kind; the
// reference is the same reading without treatment. Activations are f32, whose floor is 0.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/topology.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/eval/prediction.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/hadamard.h"
#include "kvasir/model/activation_observer.h"

namespace kvasir {
namespace {

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "kv_treatment_bench: %s\n", message.c_str());
  std::exit(2);
}

template <typename T>
T OrDie(Result<T> result) {
  if (!result.ok()) Die(result.status().message());
  return std::move(result).value();
}

struct Treatment {
  std::string name;
  KvFormats formats;
  size_t sink_blocks = 0;
  size_t recent_blocks = 0;
  size_t group_blocks = 1;
  bool is_centred = false;
  bool is_rotated = true;
};

Treatment ParseTreatment(const std::string& name) {
  Treatment treatment;
  treatment.name = name;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('+', begin), name.size());
    const std::string word = name.substr(begin, end - begin);
    const size_t equals = word.find('=');
    const auto count = [&] { return size_t(std::max(std::atoi(word.c_str() + equals + 1), 0)); };
    const auto formats = KvFormatsFromName(word);
    if (begin == 0 && formats) {
      treatment.formats = *formats;
    } else if (word.starts_with("sinks=")) {
      treatment.sink_blocks = count();
    } else if (word.starts_with("recent=")) {
      treatment.recent_blocks = count();
    } else if (word.starts_with("group=")) {
      treatment.group_blocks = std::max<size_t>(count(), 1);
    } else if (word == "centred") {
      treatment.is_centred = true;
    } else if (word == "plain") {
      treatment.is_rotated = false;
    } else {
      Die("'" + word + "' of " + name + " is no treatment; the file's head says what there is");
    }
    begin = end + 1;
  }
  return treatment;
}

// One way of reading a text.
struct Run {
  std::optional<Treatment> treatment;  // absent: the reference
  std::unique_ptr<SequenceReader> reader;
  std::optional<BlockTable> sequence;
  std::vector<TokenScore> scores;
};

// Replaces pages of the running sequence behind the attention of each layer.
class Treater final : public ActivationObserver {
 public:
  explicit Treater(ThreadPool& pool) : pool_(pool) {}

  // What is read next is a block of this run, or with null nobody's.
  void SetRun(const Run* run) { run_ = run; }

  void Observe(LinearInput input, uint32_t layer, MatrixView<const float>) override {
    if (input != LinearInput::kAttentionOutput || run_ == nullptr || !run_->treatment) return;
    const Treatment& treatment = *run_->treatment;
    const size_t tokens = run_->sequence->token_count();
    if (tokens % (treatment.group_blocks * kKvBlockTokens) != 0) return;
    const size_t complete = tokens / kKvBlockTokens;
    const size_t end = complete - std::min(complete, treatment.recent_blocks);
    const size_t begin = end - std::min(end, treatment.group_blocks);
    for (size_t block = std::max(begin, treatment.sink_blocks); block < end; ++block) {
      TreatBlock(treatment, layer, run_->sequence->blocks()[block]);
    }
  }

 private:
  void TreatBlock(const Treatment& treatment, uint32_t layer, BlockId id) {
    const KvBlockLayout& layout = run_->reader->pool().layout();
    std::byte* block = run_->reader->pool().base() + size_t(id) * layout.block_bytes();
    pool_.ParallelFor(2 * layout.kv_head_count, [&](size_t task, size_t) {
      const auto head = uint32_t(task / 2);
      if (task % 2 == 0) {
        Treat(treatment, layout.KTile(layer), block + layout.KTileOffset(layer, head));
      } else {
        Treat(treatment, layout.VTile(layer), block + layout.VTileOffset(layer, head));
      }
    });
  }

  static void Treat(const Treatment& treatment, const KvTile& page, std::byte* bytes) {
    const KvFormat format = page.is_key() ? treatment.formats.k : treatment.formats.v;
    const KvTile code = {format, page.side, page.head_dim};
    std::vector<float> numbers(size_t{kKvBlockTokens} * page.head_dim), mean(page.head_dim);
    std::vector<std::byte> codes(code.bytes());
    const bool rotates = treatment.is_rotated && IsInteger(format);
    DecodeKvTile(page, bytes, numbers.data());
    if (rotates) HadamardHeads(kKvBlockTokens, page.head_dim, numbers.data());
    // The open block keeps them so.
    for (float& x : numbers) x = F32FromBF16(BF16FromF32(x));
    if (treatment.is_centred && page.is_key()) {
      for (size_t i = 0; i < numbers.size(); ++i) mean[i % page.head_dim] += numbers[i];
      for (float& x : mean) x = F32FromF16(F16FromF32(x / kKvBlockTokens));
    }
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] -= mean[i % page.head_dim];
    EncodeKvTile(code, numbers.data(), codes.data());
    DecodeKvTile(code, codes.data(), numbers.data());
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] += mean[i % page.head_dim];
    if (rotates) HadamardHeads(kKvBlockTokens, page.head_dim, numbers.data());
    EncodeKvTile(page, numbers.data(), bytes);
  }

  ThreadPool& pool_;
  const Run* run_ = nullptr;
};

struct Options {
  ModelOptions model;
  std::string text_path;
  size_t context_tokens = 2048;
  size_t window_count = 1;
  bool json = false;
  std::vector<Treatment> treatments;
};

// Reads one window in all runs, a block after another, and scores its tokens behind the first.
void ReadWindow(std::span<const TokenId> window, MatrixView<float> reference_logits,
                MatrixView<float> logits, ThreadPool& pool, Treater& treater,
                std::vector<Run>& runs) {
  for (Run& run : runs) {
    run.sequence.reset();
    run.sequence.emplace(run.reader->NewSequence());
  }
  std::vector<Prediction> reference(kKvBlockTokens);
  for (size_t begin = 0; begin + 1 < window.size(); begin += kKvBlockTokens) {
    const size_t count = std::min(size_t{kKvBlockTokens}, window.size() - 1 - begin);
    for (Run& run : runs) {
      treater.SetRun(&run);
      const auto rows = (run.treatment ? logits : reference_logits).Rows(0, count);
      const Status read = run.reader->ReadPiece(window.subspan(begin, count), *run.sequence, rows);
      treater.SetRun(nullptr);
      if (!read.ok()) Die(read.message());
      const size_t first = run.scores.size();
      run.scores.resize(first + count);
      pool.ParallelFor(count, [&](size_t i, size_t) {
        TokenScore& score = run.scores[first + i];
        const Prediction prediction = Predict(rows.row_span(i));
        score.nll = NegativeLogLikelihood(prediction, window[begin + i + 1]);
        if (!run.treatment) {
          reference[i] = prediction;
          return;
        }
        score.kl = KlDivergence(reference[i], prediction);
        score.is_agreed = reference[i].best == prediction.best;
      });
    }
  }
}

// Bits of a number with what a page's means take.
double BitsOf(const KvBlockLayout& pages, const Treatment& treatment) {
  KvBlockLayout layout = pages;
  layout.format = treatment.formats;
  return layout.bits_per_element() + (treatment.is_centred ? 16.0 / kKvBlockTokens / 2 : 0);
}

void Print(const Options& options, const std::vector<Run>& runs) {
  const PredictionQuality reference = Summarize(runs[0].scores);
  if (!options.json) {
    std::printf(
        "| context | treatment | bits | perplexity | change | mean KL | +- | 99.9 %% KL | "
        "same top token | tokens |\n|---|---|---|---|---|---|---|---|---|---|\n");
  }
  for (const Run& run : runs) {
    if (!run.treatment) continue;
    const PredictionQuality quality = Summarize(run.scores);
    const double bits = BitsOf(run.reader->pool().layout(), *run.treatment);
    if (options.json) {
      const Json row = {{"treatment", run.treatment->name},
                        {"context", options.context_tokens},
                        {"bits_per_element", bits},
                        {"perplexity", quality.perplexity},
                        {"untreated_perplexity", reference.perplexity},
                        {"mean_kl", quality.mean_kl},
                        {"kl_standard_error", quality.kl_standard_error},
                        {"p999_kl", quality.p999_kl},
                        {"top1", quality.top1},
                        {"tokens", quality.token_count}};
      std::printf("%s\n", row.dump().c_str());
      continue;
    }
    std::printf("| %zu | %s | %.2f | %.4f | %+.2f %% | %.3g | %.1g | %.3g | %.2f %% | %zu |\n",
                options.context_tokens, run.treatment->name.c_str(), bits, quality.perplexity,
                100 * (quality.perplexity / reference.perplexity - 1), quality.mean_kl,
                quality.kl_standard_error, quality.p999_kl, 100 * quality.top1,
                quality.token_count);
  }
}

void Measure(const Options& options) {
  const OpenedModel opened = OrDie(OpenModel(options.model));
  ThreadPool pool(UsableCoreCount());
  Treater treater(pool);
  LoadOptions load;
  load.activations = ActivationPrecision::kF32;
  load.row_count_max = kKvBlockTokens;
  load.observer = &treater;
  const std::unique_ptr<Model> model = OrDie(LoadModel(*opened.checkpoint, load, pool));
  const std::vector<TokenId> tokens = opened.tokenizer->Encode(
      OrDie(ReadInput(options.text_path)), {.add_special = false, .parse_special = false});
  if (tokens.size() < options.context_tokens) Die("the text is shorter than one window");
  if (options.context_tokens > model->spec().context_length) Die("--context is beyond the model's");

  const KvBlockLayout layout = model->KvLayout(KvFormat::kF32);
  std::vector<Run> runs(1 + options.treatments.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) runs[i].treatment = options.treatments[i - 1];
    runs[i].reader = OrDie(SequenceReader::Create(*model, layout, options.context_tokens));
  }
  const LogitRows reference_logits = OrDie(LogitRows::Create(*model, kKvBlockTokens));
  const LogitRows logits = OrDie(LogitRows::Create(*model, kKvBlockTokens));
  const size_t windows = std::min(options.window_count, tokens.size() / options.context_tokens);
  for (size_t window = 0; window < windows; ++window) {
    ReadWindow(std::span(tokens).subspan(window * options.context_tokens, options.context_tokens),
               reference_logits.view(), logits.view(), pool, treater, runs);
  }
  Print(options, runs);
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool has_value = i + 1 < argc;
    const auto count = [&] { return size_t(std::max(std::atoi(argv[++i]), 2)); };
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--text" && has_value) {
      options.text_path = argv[++i];
    } else if (argument == "--model" && has_value) {
      options.model.model_path = argv[++i];
    } else if (argument == "--context" && has_value) {
      options.context_tokens = count();
    } else if (argument == "--windows" && has_value) {
      options.window_count = size_t(std::max(std::atoi(argv[++i]), 1));
    } else if (argument.starts_with("-")) {
      Die("unknown option " + argument + "; the file's head says what there is");
    } else {
      options.treatments.push_back(ParseTreatment(argument));
    }
  }
  if (options.text_path.empty() || options.treatments.empty()) {
    Die("a text and treatments are needed; the file's head says which there are");
  }
  const Status target = ApplyCpuTarget(options.model);
  if (!target.ok()) Die(target.message());
  Measure(options);
  return 0;
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) { return kvasir::Main(argc, argv); }
