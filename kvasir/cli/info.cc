// kvasir info: what the model is, what it needs, and which choices are in force.

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "kvasir/base/json.h"
#include "kvasir/base/topology.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/command_line.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Loads the model as the other commands would with the same flags, so that the memory shown is\n"
    "what they take.\n"
    "\n"
    "Examples:\n"
    "  kvasir info\n"
    "  kvasir info --model Qwen3-0.6B/ --context 32768 --kv f32\n"
    "  KVASIR_TARGET=avx2 kvasir info --json";

struct InfoOptions {
  ModelOptions model;
  size_t sequence_count = 1;
  bool json = false;
};

Json WeightsJson(const Checkpoint& checkpoint, const Model& model) {
  struct Count {
    size_t tensors = 0;
    size_t elements = 0;
    size_t bytes = 0;
  };
  std::array<Count, kDTypeCount> counts = {};
  size_t parameters = 0;
  for (const auto& [key, tensor] : checkpoint.tensors()) {
    Count& count = counts[static_cast<size_t>(tensor.dtype)];
    ++count.tensors;
    count.elements += tensor.rows * tensor.cols;
    count.bytes += tensor.bytes.size();
    parameters += tensor.rows * tensor.cols;
  }
  Json types = Json::array();
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].tensors == 0) continue;
    types.push_back({{"dtype", GetDTypeInfo(static_cast<DType>(i)).name},
                     {"tensors", counts[i].tensors},
                     {"parameters", counts[i].elements},
                     {"bytes", counts[i].bytes}});
  }
  return {{"label", WeightsLabel(checkpoint)},
          {"parameters", parameters},
          {"bytes_in_file", checkpoint.tensor_bytes()},
          {"bytes_in_memory", model.weight_bytes()},
          {"types", std::move(types)}};
}

Json ModelJson(const Checkpoint& checkpoint) {
  const ModelSpec& spec = checkpoint.spec();
  return {{"name", ModelName(checkpoint)},
          {"path", checkpoint.path()},
          {"format", checkpoint.format_description()},
          {"family", spec.family},
          {"layers", spec.layer_count},
          {"hidden_size", spec.hidden_size},
          {"ffn_size", spec.ffn_size},
          {"query_heads", spec.q_head_count},
          {"kv_heads", spec.kv_head_count},
          {"head_dim", spec.head_dim},
          {"vocab_size", spec.vocab_size},
          {"context_length", spec.context_length},
          {"sliding_window", spec.sliding_window},
          {"tied_embeddings", spec.tied_embeddings},
          {"rope", spec.rope.description}};
}

Json CpuJson(const ThreadPool& pool) {
  Json supported = Json::array();
  for (const CpuTarget target : SupportedCpuTargets()) supported.push_back(CpuTargetName(target));
  return {{"name", CpuModelName()},
          {"usable_cores", UsableCoreCount()},
          {"threads", pool.thread_count()},
          {"target", CpuTargetName(ActiveCpuTarget())},
          {"supported_targets", std::move(supported)},
          {"numerics_class", NumericsClass(ActiveCpuTarget())}};
}

Json MemoryJson(const MemoryPlan& plan, size_t available_bytes, const Status& fits) {
  return {{"weight_bytes", plan.weight_bytes},
          {"context_tokens", plan.context_tokens},
          {"kv_block_bytes", plan.kv_layout.block_bytes()},
          {"kv_block_count", plan.block_count},
          {"kv_bytes", plan.kv_bytes},
          {"summary_bytes", plan.summary_bytes},
          {"kv_bytes_per_token", plan.kv_layout.bytes_per_token()},
          {"kv_bits_per_element", plan.kv_layout.bits_per_element()},
          {"kv_rotation", plan.kv_layout.rotates() ? kKvRotationName : "none"},
          {"kv_open_blocks", plan.kv_layout.open_blocks},
          {"kv_open_bytes", plan.open_bytes},
          {"activation_bytes", plan.activation_bytes},
          {"logit_bytes", plan.logit_bytes},
          {"needed_bytes", plan.needed_bytes()},
          {"available_bytes", available_bytes},
          {"fits", fits.ok()}};
}

std::string Number(const Json& value) { return std::to_string(value.get<size_t>()); }
std::string Bytes(const Json& value) { return FormatBytes(value.get<double>()); }
std::string Text(const Json& value) { return value.get<std::string>(); }

// "int8, 8.27 bits, 11904 bytes a token, 64 blocks of 372.0 KiB, ...".
std::string KvLine(const Json& info) {
  const Json& memory = info["memory"];
  char sizes[96];
  std::snprintf(sizes, sizeof(sizes), "%.2f bits, %.0f bytes a token",
                memory["kv_bits_per_element"].get<double>(),
                memory["kv_bytes_per_token"].get<double>());
  std::string text = Text(info["kv"]) + ", " + sizes + ", " + Number(memory["kv_block_count"]) +
                     " blocks of " + Bytes(memory["kv_block_bytes"]);
  if (memory["kv_open_bytes"].get<size_t>() > 0) {
    text += ", " + Bytes(memory["kv_open_bytes"]) + " not encoded yet";
    const size_t open_blocks = memory["kv_open_blocks"].get<size_t>();
    if (open_blocks > 1) text += ", " + std::to_string(open_blocks) + " blocks open together";
  }
  return text + ", rotation " + Text(memory["kv_rotation"]);
}

// The same facts as the JSON, a line a subject.
std::string ToTable(const Json& info) {
  const Json& model = info["model"];
  const Json& weights = info["weights"];
  const Json& cpu = info["cpu"];
  const Json& memory = info["memory"];
  std::string text;
  const auto line = [&text](const std::string& subject, const std::string& value) {
    text +=
        subject + std::string(subject.size() < 14 ? 14 - subject.size() : 1, ' ') + value + "\n";
  };
  line("model", Text(model["name"]) + " (" + Text(model["family"]) + ")");
  line("file", Text(model["path"]) + ", " + Text(model["format"]));
  line("shape", Number(model["layers"]) + " layers, hidden size " + Number(model["hidden_size"]) +
                    ", feed-forward " + Number(model["ffn_size"]) + ", vocabulary " +
                    Number(model["vocab_size"]));
  const size_t window = model["sliding_window"].get<size_t>();
  line("attention", Number(model["query_heads"]) + " query heads on " + Number(model["kv_heads"]) +
                        " key/value heads of " + Number(model["head_dim"]) + ", RoPE " +
                        Text(model["rope"]) +
                        (window > 0 ? ", sliding window " + std::to_string(window) : ""));
  line("context", Number(model["context_length"]) + " tokens by the model, " +
                      Number(memory["context_tokens"]) + " in force");
  line("weights", Number(weights["parameters"]) + " parameters, " +
                      Bytes(weights["bytes_in_file"]) + " in the file, " +
                      Bytes(weights["bytes_in_memory"]) + " in memory");
  for (const Json& type : weights["types"]) {
    line("", Text(type["dtype"]) + ": " + Number(type["tensors"]) + " tensors, " +
                 Bytes(type["bytes"]));
  }
  line("tokenizer", Text(info["tokenizer"]));
  line("chat template", info["chat_template"].get<bool>() ? "present" : "none");
  std::string targets;
  for (const Json& target : cpu["supported_targets"]) {
    targets += (targets.empty() ? "" : ", ") + Text(target);
  }
  line("cpu", Text(cpu["name"]) + ", " + Number(cpu["threads"]) + " threads");
  line("instructions", Text(cpu["target"]) + " in force, of " + targets + "; numerics class " +
                           Text(cpu["numerics_class"]));
  line("activations", Text(info["activations"]));
  line("cascade", info["cascade"].get<bool>() ? "on: shared KV blocks are read once" : "off");
  line("kv", KvLine(info));
  const size_t selected = info["block_select_tokens"].get<size_t>();
  line("block select", selected == 0 ? "off"
                                     : std::to_string(selected) + " tokens of a longer context, " +
                                           Bytes(memory["summary_bytes"]) + " of summaries");
  line("memory", Bytes(memory["weight_bytes"]) + " weights + " + Bytes(memory["kv_bytes"]) +
                     " keys and values + " + Bytes(memory["activation_bytes"]) + " activations + " +
                     Bytes(memory["logit_bytes"]) + " logits; " + Bytes(memory["available_bytes"]) +
                     " available");
  return text;
}

Status RunInfo(const InfoOptions& options) {
  KVASIR_RETURN_IF_ERROR(ApplyCpuTarget(options.model));
  KVASIR_ASSIGN_OR_RETURN(const OpenedModel opened, OpenModel(options.model));
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded,
                          LoadModelFor(options.model, options.sequence_count, opened));
  KVASIR_ASSIGN_OR_RETURN(const EngineOptions engine_options,
                          EngineOptionsFor(options.model, loaded, options.sequence_count));
  KVASIR_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(*loaded.model, engine_options));
  const size_t available_bytes = AvailableMemoryBytes();
  const Status fits = CheckMemoryPlanFits(plan, available_bytes);
  const Json info = {{"version", kKvasirVersion},
                     {"model", ModelJson(*opened.checkpoint)},
                     {"weights", WeightsJson(*opened.checkpoint, *loaded.model)},
                     {"tokenizer", opened.tokenizer->Describe()},
                     {"chat_template", !opened.checkpoint->tokenizer().chat_template.empty()},
                     {"cpu", CpuJson(*loaded.pool)},
                     {"kv", options.model.kv_format},
                     {"activations", options.model.activations},
                     {"block_select_tokens", options.model.block_select_tokens},
                     {"cascade", !options.model.no_cascade},
                     {"memory", MemoryJson(plan, available_bytes, fits)}};
  if (options.json) {
    KVASIR_RETURN_IF_ERROR(PrintJson(info));
  } else {
    Output output;
    output.Write(ToTable(info));
    KVASIR_RETURN_IF_ERROR(output.status());
  }
  return fits;
}

}  // namespace

CommandFunction AddInfoCommand(CLI::App& parent) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App& app = AddCommand(parent, "info",
                             "The model, its memory, and the instruction set in force", kFooter);
  AddCountFlag(app, "--sequences", &options->sequence_count, 1, 1024,
               "plan the memory for this many sequences (default: 1)");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  AddModelFlags(app, ModelFlags::kEngine, &options->model);
  return [options] { return RunInfo(*options); };
}

}  // namespace kvasir
