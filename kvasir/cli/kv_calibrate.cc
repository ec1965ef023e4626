// kvasir kv-calibrate: chooses a format for the keys and the values of each layer of a model.

#include "kvasir/eval/kv_calibrate.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
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
#include "kvasir/engine/kv_calibration.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/weights/weights_identity.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Measures on windows of the text what each layer's keys and values cost in int4 and int8 "
    "alone,\n"
    "chooses the map with the least divergence within --budget bits per key or value, scales\n"
    "included, and writes it down for --kv auto. Minutes for a small model. docs/kv_quality.md.\n"
    "\n"
    "Examples:\n"
    "  kvasir kv-calibrate SmolLM2-135M-Instruct.Q4_1.gguf --text book.txt --budget 5.0\n"
    "  kvasir chat --kv auto --kv-calibration SmolLM2-135M-Instruct.Q4_1.gguf.kv.json";

struct CommandOptions {
  ModelOptions model;
  std::optional<std::string> model_path;
  std::optional<std::string> text_path;
  std::optional<std::string> out_path;
  float budget_bits = 5;
  KvCalibrateOptions calibrate;
};

Json Evidence(const KvCalibrateResult& result) {
  Json costs = Json::array(), statistics = Json::array();
  const auto side_name = [](KvSide side) { return side == KvSide::kKey ? "k" : "v"; };
  for (const KvTensorCost& cost : result.costs) {
    costs.push_back({{"layer", cost.layer},
                     {"side", side_name(cost.side)},
                     {"format", KvFormatName(cost.format)},
                     {"mean_kl", cost.mean_kl},
                     {"perplexity", cost.perplexity}});
  }
  for (const KvHeadStatistics& head : result.statistics) {
    statistics.push_back({{"layer", head.layer},
                          {"kv_head", head.kv_head},
                          {"side", side_name(head.side)},
                          {"absmax", head.absmax},
                          {"rms", head.rms},
                          {"mean_share", head.mean_share},
                          {"max_channel_rms", head.max_channel_rms}});
  }
  return {{"start_kl", result.start_kl},
          {"refined_maps", result.refined_count},
          {"costs", std::move(costs)},
          {"statistics", std::move(statistics)}};
}

KvCalibration ToSidecar(const CommandOptions& options, const OpenedModel& opened,
                        const LoadedModel& loaded, const KvCalibrateResult& result) {
  const KvBlockLayout layout = loaded.model->KvLayout(KvFormat::kBF16);
  KvCalibration calibration;
  calibration.model_name = loaded.name;
  calibration.model_digest = WeightsIdentity(*opened.checkpoint);
  calibration.kv_head_count = layout.kv_head_count;
  calibration.head_dim = layout.head_dim;
  calibration.codec_version = kKvCodecVersion;
  calibration.rotation = kKvRotationName;
  calibration.budget_bits = options.budget_bits;
  calibration.layers = result.layers;
  KvCalibrationMeasured& measured = calibration.measured;
  measured.bits_per_element = result.bits_per_element;
  measured.mean_kl = result.measured.mean_kl;
  measured.added_kl = result.added_kl;
  measured.p999_kl = result.measured.p999_kl;
  measured.top1 = result.measured.top1;
  measured.perplexity = result.measured.perplexity;
  measured.bf16_perplexity = result.reference.perplexity;
  measured.window_tokens = options.calibrate.window_tokens;
  measured.window_count = result.window_count;
  measured.token_count = result.measured.token_count;
  return calibration;
}

Status PrintSummary(const KvCalibration& calibration, const KvCalibrateResult& result,
                    const std::string& out_path) {
  const KvCalibrationMeasured& measured = calibration.measured;
  char line[256];
  std::string text;
  std::snprintf(line, sizeof(line),
                "%.3f bits per key or value; mean KL %.5f (%.5f before refining, %.5f as the sum "
                "of parts),\ntop-1 %.2f %%, perplexity %.4f (bf16: %.4f) over %zu tokens\n\n"
                "layer  K     V\n",
                measured.bits_per_element, measured.mean_kl, result.start_kl, measured.added_kl,
                100 * measured.top1, measured.perplexity, measured.bf16_perplexity,
                measured.token_count);
  text += line;
  for (size_t layer = 0; layer < calibration.layers.size(); ++layer) {
    const KvFormats& formats = calibration.layers[layer];
    std::snprintf(line, sizeof(line), "%5zu  %-5s %-5s\n", layer,
                  std::string(KvFormatName(formats.k)).c_str(),
                  std::string(KvFormatName(formats.v)).c_str());
    text += line;
  }
  // A bias that outweighs what tokens say shows as energy in the channels' means.
  const auto biased = std::max_element(result.statistics.begin(), result.statistics.end(),
                                       [](const auto& a, const auto& b) {
                                         return (a.side == KvSide::kKey ? a.mean_share : -1) <
                                                (b.side == KvSide::kKey ? b.mean_share : -1);
                                       });
  if (biased != result.statistics.end()) {
    std::snprintf(line, sizeof(line),
                  "\nlargest bias of keys: layer %u, head %u has %.0f %% of its energy in channel "
                  "means\n",
                  biased->layer, biased->kv_head, 100 * biased->mean_share);
    text += line;
  }
  Output output;
  output.Write(text + "written to " + out_path + "\n");
  return output.status();
}

Status RunKvCalibrate(const CommandOptions& options) {
  if (!options.text_path) {
    return InvalidArgument("there is no text to measure on: name a file with --text, - for a pipe");
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.text_path));
  ModelOptions model = options.model;
  if (options.model_path) model.model_path = options.model_path;
  KVASIR_RETURN_IF_ERROR(ApplyCpuTarget(model));
  KVASIR_ASSIGN_OR_RETURN(const OpenedModel opened, OpenModel(model));
  const std::string out_path = options.out_path.value_or(
      std::filesystem::path(opened.checkpoint->path()).lexically_normal().string() + ".kv.json");
  KVASIR_RETURN_IF_ERROR(CheckOutput(out_path));
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModelFor(model, 1, opened));
  const std::vector<TokenId> tokens =
      opened.tokenizer->Encode(text, {.add_special = false, .parse_special = false});
  ProgressBar progress("calibrating", StderrIsTerminal());
  KvCalibrateOptions calibrate = options.calibrate;
  calibrate.budget_bits = options.budget_bits;
  calibrate.chunk_tokens = model.chunk_tokens;
  calibrate.on_progress = [&progress](double share) { progress.Update(share); };
  KVASIR_ASSIGN_OR_RETURN(const KvCalibrateResult result,
                          CalibrateKv(*loaded.model, *loaded.pool, tokens, calibrate));
  progress.Finish();
  KvCalibration calibration = ToSidecar(options, opened, loaded, result);
  Sha256 hash;
  hash.Update(text);
  calibration.measured.text_name = std::filesystem::path(*options.text_path).filename().string();
  calibration.measured.text_sha256 = ToHex(hash.Finish());
  KVASIR_RETURN_IF_ERROR(WriteOutput(out_path, WriteKvCalibration(calibration, Evidence(result))));
  return PrintSummary(calibration, result, out_path);
}

}  // namespace

CommandFunction AddKvCalibrateCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  // The rounding of int8 activations answers any change of a key with as much noise as int8 keys
  // have: what a tensor costs cannot be told from it.
  options->model.activations = "f32";
  CLI::App& app =
      AddCommand(parent, "kv-calibrate", "Choose a KV format for each layer of a model", kFooter);
  AddOptionalTextArgument(app, "MODEL", &options->model_path, "like --model");
  AddTextFlag(app, "--text", &options->text_path, "PATH", "a text, - for standard input");
  AddNumberFlag(app, "--budget", &options->budget_bits, 1, 16,
                "bits per key or value, scales included\n(default: 5)");
  AddTextFlag(app, "-o,--out", &options->out_path, "FILE",
              "where the map goes\n(default: the model's path with .kv.json behind it)");
  AddCountFlag(app, "--window", &options->calibrate.window_tokens, 2, size_t{1} << 24,
               "tokens of a window (default: 512)");
  AddCountFlag(app, "--windows", &options->calibrate.window_count, 1, size_t{1} << 20,
               "windows of the text (default: 4)");
  AddCountFlag(app, "--scored", &options->calibrate.scored_tokens, 1, size_t{1} << 24,
               "last tokens of each window that count\n(default: 256)");
  AddCountFlag(app, "--refine", &options->calibrate.refine_count, 0, 10000,
               "maps to measure beyond the first (default: 12)");
  AddModelFlags(app, ModelFlags::kCompute, &options->model);
  return [options] { return RunKvCalibrate(*options); };
}

}  // namespace kvasir
