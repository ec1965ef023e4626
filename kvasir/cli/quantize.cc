// kvasir quantize: a model with fewer bits, as a GGUF file.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/topology.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/quantize/quantize_checkpoint.h"
#include "kvasir/quantize/tensor_types.h"
#include "kvasir/weights/gguf_writer.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "MODEL is a Hugging Face directory or a GGUF file in F32, F16 or BF16. Norms and biases stay "
    "F32;\n"
    "the matrix that makes the logits gets Q6_K (Q8_0 in a Q8_0 file). --awq scales channels by "
    "what\n"
    "the calibration text sends through them, --gptq makes up for what was rounded in what is "
    "still\n"
    "to be rounded; both together are allowed. docs/quantize.md says more.\n"
    "\n"
    "Examples:\n"
    "  kvasir quantize ./Qwen3-0.6B qwen3.gguf --type q8_0\n"
    "  kvasir quantize ./Qwen3-0.6B qwen3.gguf --type q4_K --gptq --calibration-text wiki.txt\n"
    "  kvasir quantize smollm2-f16.gguf smollm2-q4.gguf --type q4_0 --awq --gptq \\\n"
    "      --calibration-text wiki.txt --force";

struct CommandOptions {
  std::optional<std::string> source;
  std::optional<std::string> output;
  std::optional<std::string> type;
  std::optional<std::string> text_path;
  size_t token_count = 8192;
  size_t thread_count = 0;
  std::string target;
  bool awq = false;
  bool gptq = false;
  bool from_quantized = false;
  bool force = false;
  bool json = false;
};

Result<DType> CheckedType(const CommandOptions& options) {
  const std::string name = options.type.value_or("");
  const std::optional<DType> type = QuantizedTypeFromName(name);
  if (type) return *type;
  return InvalidArgument(
      "--type: " + (name.empty() ? std::string("there is none") : "'" + name + "' is unknown") +
      ", allowed are q8_0, q4_0 and q4_K");
}

// Before anything is read.
Status CheckFlags(const CommandOptions& options) {
  if (!options.source || !options.output) {
    return InvalidArgument("quantize needs two names: of the model and of the file to write");
  }
  if ((options.awq || options.gptq) && !options.text_path) {
    return InvalidArgument(
        "--awq and --gptq fit weights to a text: name a file with --calibration-text");
  }
  if (options.text_path && !options.awq && !options.gptq) {
    return InvalidArgument("--calibration-text is of no use without --awq or --gptq");
  }
  return CheckOutputPath(*options.output, options.force);
}

Json ToJson(const CommandOptions& options, const QuantizeReport& report) {
  Json types = Json::object();
  for (const auto& [dtype, share] : report.types) {
    types[std::string(GetDTypeInfo(dtype).name)] = {{"tensors", share.tensor_count},
                                                    {"numbers", share.number_count},
                                                    {"bytes", share.byte_count}};
  }
  Json json = {{"output", *options.output},
               {"file_bytes", report.file_bytes},
               {"bits_per_weight", report.bits_per_weight()},
               {"types", std::move(types)},
               {"fallbacks", report.fallbacks}};
  if (options.awq || options.gptq) {
    json["calibration_tokens"] = report.calibration_token_count;
    json["output_error"] = report.output_error;
    json["output_error_rounded"] = report.plain_output_error;
  }
  return json;
}

Status Print(const CommandOptions& options, const QuantizeReport& report) {
  if (options.json) return PrintJson(ToJson(options, report));
  Output output;
  char line[200];
  std::snprintf(line, sizeof(line), ": %s, %.3f bits per weight\n",
                FormatBytes(static_cast<double>(report.file_bytes)).c_str(),
                report.bits_per_weight());
  output.Write(*options.output + line);
  for (const auto& [dtype, share] : report.types) {
    std::snprintf(line, sizeof(line), "  %-5s %5zu tensors  %10s\n",
                  std::string(GetDTypeInfo(dtype).name).c_str(), share.tensor_count,
                  FormatBytes(static_cast<double>(share.byte_count)).c_str());
    output.Write(line);
  }
  for (const std::string& fallback : report.fallbacks) output.Write("  " + fallback + "\n");
  if (options.awq || options.gptq) {
    std::snprintf(line, sizeof(line),
                  "  outputs lose %.4f %% of their square on %zu tokens, %.4f %% plainly rounded\n",
                  100 * report.output_error, report.calibration_token_count,
                  100 * report.plain_output_error);
    output.Write(line);
  }
  return output.status();
}

Status RunQuantize(const CommandOptions& options) {
  QuantizeOptions quantize;
  KVASIR_ASSIGN_OR_RETURN(quantize.type, CheckedType(options));
  KVASIR_RETURN_IF_ERROR(CheckFlags(options));
  ModelOptions model;
  model.model_path = options.source;
  model.target = options.target;
  KVASIR_RETURN_IF_ERROR(ApplyCpuTarget(model));
  KVASIR_ASSIGN_OR_RETURN(const auto checkpoint, OpenCheckpoint(*options.source));
  quantize.scale_channels = options.awq;
  quantize.feed_back_errors = options.gptq;
  quantize.from_quantized = options.from_quantized;
  quantize.replace = options.force;
  if (options.text_path) {
    KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.text_path));
    KVASIR_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
    quantize.calibration_tokens =
        tokenizer->Encode(text, {.add_special = false, .parse_special = false});
    if (quantize.calibration_tokens.size() > options.token_count) {
      quantize.calibration_tokens.resize(options.token_count);
    }
  }
  std::string phase;
  std::optional<ProgressBar> progress;
  quantize.on_progress = [&](std::string_view name, double share) {
    if (name != phase) progress.emplace(phase = name, StderrIsTerminal());
    progress->Update(share);
  };
  ThreadPool pool(options.thread_count == 0 ? UsableCoreCount() : options.thread_count);
  KVASIR_ASSIGN_OR_RETURN(const QuantizeReport report,
                          QuantizeCheckpoint(*checkpoint, quantize, *options.output, pool));
  progress.reset();
  return Print(options, report);
}

}  // namespace

CommandFunction AddQuantizeCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  CLI::App& app =
      AddCommand(parent, "quantize", "A model with fewer bits, as a GGUF file", kFooter);
  AddTextArgument(app, "MODEL", &options->source, "GGUF file or Hugging Face directory");
  AddTextArgument(app, "OUT", &options->output, "the GGUF file to write");
  AddTextFlag(app, "--type", &options->type, "TYPE", "q8_0, q4_0 or q4_K");
  AddSwitch(app, "--awq", &options->awq, "scale channels by the activations (AWQ)");
  AddSwitch(app, "--gptq", &options->gptq, "feed rounding errors back (GPTQ)");
  AddTextFlag(app, "--calibration-text", &options->text_path, "PATH",
              "what --awq and --gptq fit to, - for standard\ninput");
  AddCountFlag(app, "--calibration-tokens", &options->token_count, 64, size_t{1} << 24,
               "tokens of it that are read (default: 8192)");
  AddSwitch(app, "--from-quantized", &options->from_quantized,
            "accept a model that is quantised already");
  AddSwitch(app, "--force", &options->force, "replace the file when it exists");
  AddCountFlag(app, "-t,--threads", &options->thread_count, 1, 1024,
               "threads (default: the usable cores); the file\ndoes not depend on it");
  AddChoiceFlag(app, "--target", &options->target, {"auto", "portable", "avx2", "avx512"},
                "instruction set (default: $KVASIR_TARGET,\nelse auto)");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  return [options] { return RunQuantize(*options); };
}

}  // namespace kvasir
