// kvasir eval-select: what block selection costs in quality.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/passkey.h"
#include "kvasir/eval/select_quality.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Reads --depths tokens of the text in full and decodes the next --decode tokens one by one, "
    "once\n"
    "with everything and once for each budget, and compares the predictions. Then hides a number "
    "in\n"
    "the text at --passkeys places and asks for it.\n"
    "\n"
    "Examples:\n"
    "  kvasir eval-select --text book.txt\n"
    "  kvasir eval-select --text book.txt --depths 8000 --budgets 512,1024 --windows 4 --json";

constexpr size_t kTokensMax = size_t{1} << 24;

struct CommandOptions {
  ModelOptions model;
  std::optional<std::string> text_path;
  std::vector<size_t> depths = {2048, 4096, 8000};
  std::vector<size_t> budgets = {256, 512, 1024, 2048};
  size_t decode_tokens = 128;
  size_t window_count = 2;
  size_t passkey_count = 5;
  size_t full_layer_count = BatchBlockSelect().full_layer_count;
  bool json = false;
};

// The measurements of one depth; passkeys has the rows of quality, or none.
struct DepthResult {
  size_t depth = 0;
  SelectQualityResult quality;
  std::vector<PasskeyRow> passkeys;
};

Result<DepthResult> Measure(const CommandOptions& options, const LoadedModel& loaded,
                            std::span<const TokenId> tokens, size_t depth, ProgressBar& progress) {
  const uint32_t full_layers = static_cast<uint32_t>(options.full_layer_count);
  SelectQualityOptions quality;
  quality.depth_tokens = depth;
  quality.decode_tokens = options.decode_tokens;
  quality.window_count_max = options.window_count;
  quality.budgets = options.budgets;
  quality.full_layer_count = full_layers;
  quality.chunk_tokens = options.model.chunk_tokens;
  quality.kv_format = KvFormatFor(options.model);
  quality.on_progress = [&progress](double share) { progress.Update(share); };
  DepthResult result;
  result.depth = depth;
  KVASIR_ASSIGN_OR_RETURN(result.quality, MeasureSelectQuality(*loaded.model, tokens, quality));
  if (options.passkey_count == 0) return result;

  PasskeyOptions passkey;
  passkey.depth_tokens = depth;
  passkey.trial_count = options.passkey_count;
  for (const SelectQualityRow& row : result.quality.rows) {
    passkey.readings.push_back({row.budget_tokens, full_layers});
  }
  passkey.chunk_tokens = options.model.chunk_tokens;
  passkey.kv_format = KvFormatFor(options.model);
  passkey.on_progress = quality.on_progress;
  KVASIR_ASSIGN_OR_RETURN(result.passkeys,
                          MeasurePasskey(*loaded.model, *loaded.tokenizer, tokens, passkey));
  return result;
}

Json ToJson(const CommandOptions& options, const LoadedModel& loaded,
            const std::vector<DepthResult>& results) {
  Json rows = Json::array();
  for (const DepthResult& result : results) {
    for (size_t i = 0; i < result.quality.rows.size(); ++i) {
      const SelectQualityRow& row = result.quality.rows[i];
      Json json = {{"depth", result.depth},
                   {"budget_tokens", row.budget_tokens},
                   {"windows", result.quality.window_count},
                   {"tokens", result.quality.token_count},
                   {"perplexity", row.perplexity},
                   {"mean_nll", row.mean_nll},
                   {"top1_agreement", row.top1_agreement},
                   {"mean_kl", row.mean_kl}};
      if (!result.passkeys.empty()) {
        json["passkeys_found"] = result.passkeys[i].found_count;
        json["passkeys"] = options.passkey_count;
        json["passkey_mean_nll"] = result.passkeys[i].mean_nll;
      }
      rows.push_back(std::move(json));
    }
  }
  return {{"model", loaded.name},
          {"weights", loaded.weights_label},
          {"kv", options.model.kv_format},
          {"activations", options.model.activations},
          {"target", CpuTargetName(ActiveCpuTarget())},
          {"full_layers", options.full_layer_count},
          {"rows", std::move(rows)}};
}

// "full" for 0.
std::string BudgetName(size_t budget_tokens) {
  return budget_tokens == 0 ? "full" : std::to_string(budget_tokens);
}

Status PrintTable(const CommandOptions& options, const LoadedModel& loaded,
                  const std::vector<DepthResult>& results) {
  Output output;
  output.Write(loaded.name + ", " + loaded.weights_label + " weights, " + options.model.kv_format +
               " keys and values, the first " + std::to_string(options.full_layer_count) +
               " layers in full\n\n"
               "depth  budget  tokens  perplexity    top-1   mean KL  pass keys  their nll\n");
  for (const DepthResult& result : results) {
    for (size_t i = 0; i < result.quality.rows.size(); ++i) {
      const SelectQualityRow& row = result.quality.rows[i];
      char line[160];
      std::snprintf(line, sizeof(line), "%5zu  %6s  %6zu  %10.4f  %6.2f%%  %8.5f", result.depth,
                    BudgetName(row.budget_tokens).c_str(), result.quality.token_count,
                    row.perplexity, 100 * row.top1_agreement, row.mean_kl);
      output.Write(line);
      if (!result.passkeys.empty()) {
        const PasskeyRow& passkey = result.passkeys[i];
        std::snprintf(line, sizeof(line), "  %4zu of %zu  %9.4f", passkey.found_count,
                      options.passkey_count, passkey.mean_nll);
        output.Write(line);
      }
      output.Write("\n");
    }
  }
  return output.status();
}

Status RunEvalSelect(const CommandOptions& options) {
  for (const size_t budget : options.budgets) {
    // 0 would be everything, which is measured anyway.
    KVASIR_RETURN_IF_ERROR(CheckBlockSelectTokens(budget).WithContext("--budgets"));
  }
  if (!options.text_path) {
    return InvalidArgument("there is no text to read: name a file with --text, - for a pipe");
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.text_path));
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModelFor(options.model));
  if (!loaded.kv_layers.empty() || KvFormatFor(options.model).quantized()) {
    return InvalidArgument("--kv " + options.model.kv_format +
                           ": blocks of quantised keys cannot be selected");
  }
  const std::vector<TokenId> tokens =
      loaded.tokenizer->Encode(text, {.add_special = false, .parse_special = false});
  std::vector<DepthResult> results;
  for (const size_t depth : options.depths) {
    ProgressBar progress("depth " + std::to_string(depth), StderrIsTerminal());
    KVASIR_ASSIGN_OR_RETURN(DepthResult result, Measure(options, loaded, tokens, depth, progress));
    results.push_back(std::move(result));
  }
  return options.json ? PrintJson(ToJson(options, loaded, results))
                      : PrintTable(options, loaded, results);
}

}  // namespace

CommandFunction AddEvalSelectCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  CLI::App& app =
      AddCommand(parent, "eval-select", "What block selection costs in quality", kFooter);
  AddTextFlag(app, "--text", &options->text_path, "PATH", "a long text, - for standard input");
  AddCountsFlag(app, "--depths", &options->depths, 1, kTokensMax,
                "tokens in front of the decoded ones\n(default: 2048,4096,8000)");
  AddCountsFlag(app, "--budgets", &options->budgets, 1, kTokensMax,
                "tokens that a decode reads\n(default: 256,512,1024,2048)");
  AddCountFlag(app, "--decode", &options->decode_tokens, 1, 8192,
               "decoded tokens of each window (default: 128)");
  AddCountFlag(app, "--windows", &options->window_count, 1, size_t{1} << 20,
               "windows of the text at most (default: 2)");
  AddCountFlag(app, "--passkeys", &options->passkey_count, 0, 1000,
               "places of the hidden number, 0 for none\n(default: 5)");
  AddCountFlag(app, "--full-layers", &options->full_layer_count, 0, 1024,
               "first layers that read everything (default: 2)");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  AddModelFlags(app, ModelFlags::kKernel, &options->model);
  return [options] { return RunEvalSelect(*options); };
}

}  // namespace kvasir
