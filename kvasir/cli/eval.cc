// kvasir eval: what formats of keys and values cost in quality.

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/hash.h"
#include "kvasir/base/json.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/kv_quality.h"
#include "kvasir/eval/kv_report.h"
#include "kvasir/eval/probe.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Reads windows of the text with keys and values in each format, through the cache, and "
    "compares\n"
    "the predictions with those of bf16 keys and values: perplexity, mean and 99.9 % divergence,\n"
    "share of tokens with the same favourite. docs/kv_quality.md has the definitions.\n"
    "\n"
    "Examples:\n"
    "  kvasir eval --text book.txt\n"
    "  kvasir eval --text book.txt --context 512,2048 --kv bf16,int8,k8v4,int4 --json\n"
    "  kvasir eval --text book.txt --context 8192 --windows 1 --decode 64 --probes 20 --svg kv.svg";

constexpr size_t kTokensMax = size_t{1} << 24;
// Tokens that the default number of windows has: some minutes for all formats of a small model.
constexpr size_t kDefaultTokens = 8192;

constexpr const char* kDefaultFormats = "bf16,int8,k8v4,int4";

struct CommandOptions {
  ModelOptions model;
  std::optional<std::string> text_path;
  std::vector<size_t> contexts = {512, 2048};
  std::optional<std::string> kv;
  size_t window_count = 0;  // 0 = as many as hold kDefaultTokens
  size_t decode_tokens = 0;
  size_t probe_count = 0;
  std::optional<std::string> json_path;
  std::optional<std::string> markdown_path;
  std::optional<std::string> svg_path;
};

constexpr std::string_view kAuto = "auto";

struct NamedFormat {
  std::string name;
  KvFormats formats;  // not of auto, which has one for each layer
};

Result<std::vector<NamedFormat>> ParseFormats(const std::string& list) {
  std::vector<NamedFormat> formats;
  for (size_t begin = 0, comma = 0; comma != std::string::npos; begin = comma + 1) {
    comma = list.find(',', begin);
    const std::string name = list.substr(begin, comma - begin);
    const auto parsed = KvFormatsFromName(name);
    if (!parsed && name != kAuto) {
      return InvalidArgument("--kv: '" + name + "' is not one of auto, " + KvFormatsHelp());
    }
    formats.push_back({name, parsed.value_or(KvFormats())});
  }
  return formats;
}

// Each format's row of one context.
Result<std::vector<KvReportRow>> MeasureContext(const CommandOptions& options,
                                                const LoadedModel& loaded,
                                                std::span<const TokenId> tokens,
                                                std::span<const NamedFormat> formats,
                                                size_t context) {
  ProgressBar progress("context " + std::to_string(context), StderrIsTerminal());
  const double quality_share = options.probe_count > 0 ? 0.5 : 1;
  KvQualityOptions quality;
  for (const NamedFormat& format : formats) {
    EngineOptions engine;
    engine.kv_format = format.formats;
    if (format.name == kAuto) engine.kv_layers = loaded.kv_layers;
    engine.kv_rotation = options.model.rotates_kv();
    // Of the formats that have open blocks: bf16 may stand beside them.
    if (format.name == kAuto || format.formats.quantized()) {
      engine.kv_open_blocks = options.model.kv_open_blocks;
    }
    KVASIR_ASSIGN_OR_RETURN(KvBlockLayout layout, KvLayoutFor(*loaded.model, engine));
    quality.layouts.push_back(std::move(layout));
  }
  quality.context_tokens = context;
  quality.window_count_max = options.window_count > 0
                                 ? options.window_count
                                 : std::max<size_t>(1, kDefaultTokens / context);
  quality.decode_tokens = options.decode_tokens;
  quality.chunk_tokens = options.model.chunk_tokens;
  quality.on_progress = [&](double share) { progress.Update(share * quality_share); };
  KVASIR_ASSIGN_OR_RETURN(const KvQualityResult result,
                          MeasureKvQuality(*loaded.model, *loaded.pool, tokens, quality));
  std::vector<KvReportRow> rows;
  for (size_t f = 0; f < formats.size(); ++f) {
    rows.push_back(
        {formats[f].name, context, result.window_count, result.rows[f], result.reference, {}});
  }
  if (options.probe_count == 0) return rows;

  KvProbeOptions probe;
  probe.layouts = quality.layouts;
  probe.context_tokens = context;
  probe.passkey_count = probe.retrieval_count = options.probe_count;
  // Every token of a copy counts: a few sequences are as many answers as all the other questions.
  probe.copy_count = (options.probe_count + 9) / 10;
  probe.chunk_tokens = options.model.chunk_tokens;
  probe.on_progress = [&](double share) {
    progress.Update(quality_share + share * (1 - quality_share));
  };
  KVASIR_ASSIGN_OR_RETURN(const std::vector<KvProbeRow> probes,
                          MeasureKvProbes(*loaded.model, *loaded.tokenizer, tokens, probe));
  for (const KvProbeRow& measured : probes) {
    for (size_t f = 0; f < formats.size(); ++f) {
      rows[f].probes.push_back(
          {measured.kind, measured.reference, measured.tallies[f], measured.is_applicable()});
    }
  }
  return rows;
}

Status WriteReport(const CommandOptions& options, const KvReportSource& source,
                   std::span<const KvReportRow> rows) {
  if (options.svg_path) {
    KVASIR_RETURN_IF_ERROR(WriteOutput(*options.svg_path, KvReportSvg(source, rows)));
  }
  if (options.json_path) {
    KVASIR_RETURN_IF_ERROR(
        WriteOutput(*options.json_path, DumpJson(KvReportJson(source, rows), 2) + "\n"));
  }
  if (!options.markdown_path && options.json_path == "-") return OkStatus();
  return WriteOutput(options.markdown_path.value_or("-"), KvReportMarkdown(source, rows));
}

Status RunEval(const CommandOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const std::vector<NamedFormat> formats,
                          ParseFormats(options.kv.value_or(kDefaultFormats)));
  if (!options.text_path) {
    return InvalidArgument("there is no text to read: name a file with --text, - for a pipe");
  }
  // Before the work, which would be lost.
  for (const auto* path : {&options.json_path, &options.markdown_path, &options.svg_path}) {
    if (*path) KVASIR_RETURN_IF_ERROR(CheckOutput(**path));
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.text_path));
  Sha256 hash;
  hash.Update(text);
  ModelOptions model = options.model;
  for (const NamedFormat& format : formats) {
    if (format.name == kAuto) model.kv_format = kAuto;
  }
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModelFor(model));
  const std::vector<TokenId> tokens =
      loaded.tokenizer->Encode(text, {.add_special = false, .parse_special = false});
  std::vector<KvReportRow> rows;
  for (const size_t context : options.contexts) {
    KVASIR_ASSIGN_OR_RETURN(std::vector<KvReportRow> measured,
                            MeasureContext(options, loaded, tokens, formats, context));
    std::move(measured.begin(), measured.end(), std::back_inserter(rows));
  }
  KvReportSource source;
  source.model = loaded.name;
  source.weights = loaded.weights_label;
  source.activations = options.model.activations;
  source.target = CpuTargetName(ActiveCpuTarget());
  source.text_name = std::filesystem::path(*options.text_path).filename().string();
  source.text_sha256 = ToHex(hash.Finish());
  return WriteReport(options, source, rows);
}

}  // namespace

CommandFunction AddEvalCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  CLI::App& app =
      AddCommand(parent, "eval", "What formats of keys and values cost in quality", kFooter);
  AddTextFlag(app, "--text", &options->text_path, "PATH", "a long text, - for standard input");
  AddCountsFlag(app, "-c,--context", &options->contexts, 2, kTokensMax,
                "tokens of a window (default: 512,2048)");
  AddTextFlag(app, "--kv", &options->kv, "FORMAT,...",
              std::string("formats to compare with bf16\n(default: ") + kDefaultFormats + ")");
  AddCountFlag(app, "--windows", &options->window_count, 1, size_t{1} << 40,
               "windows of each context (default: as many as\nhold 8192 tokens, at least one)");
  AddCountFlag(app, "--decode", &options->decode_tokens, 0, kTokensMax,
               "also read the last tokens of each window one\nby one (default: 0)");
  AddCountFlag(app, "--probes", &options->probe_count, 0, 100000,
               "pass keys and records to ask for, and copies of\nrandom tokens, one for ten "
               "(default: 0)");
  AddOptionalTextFlag(app, "--json", &options->json_path, "FILE", "-",
                      "write one JSON object, to standard output when\nno file is named");
  AddTextFlag(app, "--markdown", &options->markdown_path, "FILE",
              "write the tables to a file (default: print them)");
  AddTextFlag(app, "--svg", &options->svg_path, "FILE", "draw divergence over bits");
  AddModelFlags(app, ModelFlags::kCompute, &options->model);
  AddKvMapFlags(app, &options->model);
  return [options] { return RunEval(*options); };
}

}  // namespace kvasir
