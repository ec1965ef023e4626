// kvasir perplexity: how well the model predicts a text.

#include "kvasir/eval/perplexity.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "The text is cut into windows of --context tokens without overlap; nothing is put in front;\n"
    "tokens 2..N of each window are scored; a last partial window is dropped.\n"
    "\n"
    "Examples:\n"
    "  kvasir perplexity --text wiki.txt --context 512\n"
    "  kvasir perplexity --text wiki.txt --context 2048 --windows 20 --json\n"
    "  kvasir perplexity --text wiki.txt --kv f32 --activations f32";

struct CommandOptions {
  ModelOptions model;
  std::optional<std::string> text_path;
  size_t window_tokens = 512;
  size_t window_count_max = 0;
  bool json = false;
};

Json ToJson(const CommandOptions& options, const LoadedModel& loaded,
            const PerplexityResult& result) {
  return {{"perplexity", result.perplexity},
          {"mean_nll", result.mean_nll},
          {"nll_standard_error", result.nll_standard_error},
          {"tokens_scored", result.token_count},
          {"windows", result.window_count},
          {"context", options.window_tokens},
          {"model", loaded.name},
          {"weights", loaded.weights_label},
          {"kv", options.model.kv_format},
          {"kv_rotation", options.model.kv_rotation},
          {"kv_open_blocks", options.model.kv_open_blocks},
          {"activations", options.model.activations},
          {"target", CpuTargetName(ActiveCpuTarget())}};
}

Status RunPerplexity(const CommandOptions& options) {
  if (!options.text_path) {
    return InvalidArgument("there is no text to score: name a file with --text, - for a pipe");
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.text_path));
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModelFor(options.model));
  const std::vector<TokenId> tokens =
      loaded.tokenizer->Encode(text, {.add_special = false, .parse_special = false});

  ProgressBar progress("scoring", StderrIsTerminal());
  PerplexityOptions measure;
  measure.context_tokens = options.window_tokens;
  measure.window_count_max = options.window_count_max;
  measure.chunk_tokens = options.model.chunk_tokens;
  measure.kv_format = KvFormatFor(options.model);
  measure.kv_layers = loaded.kv_layers;
  measure.kv_rotation = options.model.rotates_kv();
  measure.kv_open_blocks = options.model.kv_open_blocks;
  measure.on_progress = [&progress](double share) { progress.Update(share); };
  KVASIR_ASSIGN_OR_RETURN(const PerplexityResult result,
                          MeasurePerplexity(*loaded.model, *loaded.pool, tokens, measure));
  progress.Finish();
  if (options.json) return PrintJson(ToJson(options, loaded, result));
  char line[160];
  std::snprintf(line, sizeof(line),
                "perplexity %.4f (mean nll %.5f +- %.5f) over %zu tokens in %zu windows of %zu\n",
                result.perplexity, result.mean_nll, result.nll_standard_error, result.token_count,
                result.window_count, options.window_tokens);
  Output output;
  output.Write(line);
  return output.status();
}

}  // namespace

CommandFunction AddPerplexityCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  CLI::App& app = AddCommand(parent, "perplexity", "How well the model predicts a text", kFooter);
  AddTextFlag(app, "--text", &options->text_path, "PATH", "the text, - for standard input");
  AddCountFlag(app, "-c,--context", &options->window_tokens, 2, size_t{1} << 24,
               "tokens of a window (default: 512)");
  AddCountFlag(app, "--windows", &options->window_count_max, 1, size_t{1} << 40,
               "score only the first windows (default: all)");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  AddModelFlags(app, ModelFlags::kKernel, &options->model);
  return [options] { return RunPerplexity(*options); };
}

}  // namespace kvasir
