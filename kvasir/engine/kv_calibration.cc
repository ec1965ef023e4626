#include "kvasir/engine/kv_calibration.h"

#include <cmath>
#include <initializer_list>
#include <utility>

#include "kvasir/base/mapped_file.h"
#include "kvasir/formats/kv_codec.h"

namespace kvasir {

namespace {

constexpr uint64_t kFileVersion = 1;
constexpr std::string_view kVersionMember = "kvasir_kv_calibration";
constexpr double kNumberMax = 1e15;  // counts beyond it would not be exact

bool IsHexDigest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Reads the members of one object; the first failure stays, so that callers ask once.
class ObjectReader {
 public:
  ObjectReader(const Json& json, std::string name, std::initializer_list<std::string_view> known)
      : json_(json), name_(std::move(name)) {
    if (!json.is_object()) Fail(name_ + " is no JSON object");
    for (const auto& [member, value] : json.items()) {
      bool is_known = false;
      for (const std::string_view one : known) is_known |= member == one;
      if (!is_known) Fail(name_ + " has a member that this version does not know");
    }
  }

  const Json* Member(std::string_view member) {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(std::string(member));
    if (found != json_.end()) return &*found;
    Fail(name_ + " has no " + std::string(member));
    return nullptr;
  }
  double Number(std::string_view member, double min = 0, double max = kNumberMax) {
    const Json* value = Member(member);
    if (value == nullptr) return 0;
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (number >= min && number <= max) return number;
    Fail(name_ + ": " + std::string(member) + " is no number in its range");
    return 0;
  }
  uint64_t Count(std::string_view member, double max = kNumberMax) {
    const double number = Number(member, 0, max);
    if (number == std::floor(number)) return static_cast<uint64_t>(number);
    Fail(name_ + ": " + std::string(member) + " is no whole number");
    return 0;
  }
  std::string Text(std::string_view member, size_t size_max = 1024) {
    const Json* value = Member(member);
    if (value == nullptr) return "";
    if (value->is_string() && value->get_ref<const std::string&>().size() <= size_max) {
      return value->get<std::string>();
    }
    Fail(name_ + ": " + std::string(member) + " is no text of at most " + std::to_string(size_max) +
         " bytes");
    return "";
  }
  std::string HexDigest(std::string_view member) {
    std::string text = Text(member);
    if (status_.ok() && !IsHexDigest(text)) {
      Fail(name_ + ": " + std::string(member) + " is no SHA-256 in 64 hexadecimal digits");
    }
    return text;
  }
  const Status& status() const { return status_; }

 private:
  void Fail(std::string message) {
    if (status_.ok()) status_ = DataLoss(std::move(message));
  }

  const Json& json_;
  std::string name_;
  Status status_;
};

Status ParseModel(const Json& json, KvCalibration* calibration) {
  ObjectReader model(json, "model", {"name", "digest", "kv_heads", "head_dim"});
  calibration->model_name = model.Text("name");
  calibration->model_digest = model.HexDigest("digest");
  calibration->kv_head_count = static_cast<uint32_t>(model.Count("kv_heads", 1 << 16));
  calibration->head_dim = static_cast<uint32_t>(model.Count("head_dim", 1 << 16));
  return model.status();
}

Status ParseMeasured(const Json& json, KvCalibrationMeasured* measured) {
  ObjectReader reader(
      json, "measured",
      {"bits_per_element", "mean_kl", "added_kl", "p999_kl", "top1", "perplexity",
       "bf16_perplexity", "text", "text_sha256", "window_tokens", "windows", "tokens"});
  measured->bits_per_element = reader.Number("bits_per_element", 0, 32);
  // A divergence may round below 0.
  measured->mean_kl = reader.Number("mean_kl", -1);
  measured->added_kl = reader.Number("added_kl", -1);
  measured->p999_kl = reader.Number("p999_kl", -1);
  measured->top1 = reader.Number("top1", 0, 1);
  measured->perplexity = reader.Number("perplexity");
  measured->bf16_perplexity = reader.Number("bf16_perplexity");
  measured->text_name = reader.Text("text");
  measured->text_sha256 = reader.HexDigest("text_sha256");
  measured->window_tokens = reader.Count("window_tokens");
  measured->window_count = reader.Count("windows");
  measured->token_count = reader.Count("tokens");
  return reader.status();
}

Result<KvFormats> ParseLayer(const Json& json, size_t layer) {
  const std::string name = "layer " + std::to_string(layer) + " of the map";
  ObjectReader reader(json, name, {"k", "v"});
  const auto k = KvFormatFromName(reader.Text("k")), v = KvFormatFromName(reader.Text("v"));
  KVASIR_RETURN_IF_ERROR(reader.status());
  if (!k || !v) return DataLoss(name + " has a format that this version does not know");
  if ((*k == KvFormat::kF32) != (*v == KvFormat::kF32)) {
    return DataLoss(name + " has f32 beside another format");
  }
  return KvFormats{*k, *v};
}

Status ParseMap(const Json& json, std::vector<KvFormats>* layers) {
  if (!json.is_array() || json.empty() || json.size() > kKvCalibrationLayersMax) {
    return DataLoss("the map is no list of 1 to " + std::to_string(kKvCalibrationLayersMax) +
                    " layers");
  }
  for (const Json& layer : json) {
    KVASIR_ASSIGN_OR_RETURN(const KvFormats formats, ParseLayer(layer, layers->size()));
    layers->push_back(formats);
  }
  return OkStatus();
}

}  // namespace

std::string WriteKvCalibration(const KvCalibration& calibration, const Json& evidence) {
  const KvCalibrationMeasured& measured = calibration.measured;
  Json map = Json::array();
  for (const KvFormats& layer : calibration.layers) {
    map.push_back({{"k", KvFormatName(layer.k)}, {"v", KvFormatName(layer.v)}});
  }
  const Json json = {{std::string(kVersionMember), kFileVersion},
                     {"model",
                      {{"name", calibration.model_name},
                       {"digest", calibration.model_digest},
                       {"kv_heads", calibration.kv_head_count},
                       {"head_dim", calibration.head_dim}}},
                     {"codec_version", calibration.codec_version},
                     {"rotation", calibration.rotation},
                     {"budget_bits", calibration.budget_bits},
                     {"measured",
                      {{"bits_per_element", measured.bits_per_element},
                       {"mean_kl", measured.mean_kl},
                       {"added_kl", measured.added_kl},
                       {"p999_kl", measured.p999_kl},
                       {"top1", measured.top1},
                       {"perplexity", measured.perplexity},
                       {"bf16_perplexity", measured.bf16_perplexity},
                       {"text", measured.text_name},
                       {"text_sha256", measured.text_sha256},
                       {"window_tokens", measured.window_tokens},
                       {"windows", measured.window_count},
                       {"tokens", measured.token_count}}},
                     {"map", std::move(map)},
                     {"evidence", evidence}};
  return DumpJson(json, 1) + "\n";
}

Result<KvCalibration> ParseKvCalibration(std::string_view text) {
  JsonLimits limits;
  limits.byte_count_max = kKvCalibrationBytesMax;
  limits.depth_max = 16;
  const Result<Json> parsed = ParseJson(text, limits);
  if (!parsed.ok()) return DataLoss(parsed.status().message());
  const Json& json = *parsed;
  if (!json.is_object() || !json.contains(std::string(kVersionMember))) {
    return DataLoss("this is no KV calibration: there is no " + std::string(kVersionMember));
  }
  ObjectReader file(json, "the calibration",
                    {kVersionMember, "model", "codec_version", "rotation", "budget_bits",
                     "measured", "map", "evidence"});
  // First: another version has other members.
  if (json[std::string(kVersionMember)] != kFileVersion) {
    return Unimplemented("the calibration is of another version, this program reads " +
                         std::to_string(kFileVersion));
  }
  KvCalibration calibration;
  calibration.codec_version = static_cast<uint32_t>(file.Count("codec_version", 1 << 30));
  calibration.rotation = file.Text("rotation");
  calibration.budget_bits = file.Number("budget_bits", 0, 64);
  const Json *model = file.Member("model"), *measured = file.Member("measured");
  const Json *map = file.Member("map"), *evidence = file.Member("evidence");
  KVASIR_RETURN_IF_ERROR(file.status());
  if (!evidence->is_object()) return DataLoss("the evidence is no JSON object");
  if (calibration.codec_version != kKvCodecVersion) {
    return Unimplemented("the calibration is for version " +
                         std::to_string(calibration.codec_version) +
                         " of the KV codec, this program has " + std::to_string(kKvCodecVersion));
  }
  if (calibration.rotation != kKvRotationName) {
    return Unimplemented("the calibration is for another rotation than " +
                         std::string(kKvRotationName));
  }
  KVASIR_RETURN_IF_ERROR(ParseModel(*model, &calibration));
  KVASIR_RETURN_IF_ERROR(ParseMeasured(*measured, &calibration.measured));
  KVASIR_RETURN_IF_ERROR(ParseMap(*map, &calibration.layers));
  return calibration;
}

Result<KvCalibration> ReadKvCalibration(const std::string& path) {
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kKvCalibrationBytesMax));
  Result<KvCalibration> calibration = ParseKvCalibration(text);
  if (!calibration.ok()) return calibration.status().WithContext(path);
  return calibration;
}

Result<KvBlockLayout> ApplyKvCalibration(const KvCalibration& calibration,
                                         std::string_view model_digest,
                                         const KvBlockLayout& model_layout) {
  if (calibration.model_digest != model_digest) {
    return InvalidArgument("the KV calibration is of another model (digest " +
                           calibration.model_digest.substr(0, 16) + ", this one is " +
                           std::string(model_digest.substr(0, 16)) + ")");
  }
  if (calibration.layers.size() != model_layout.layer_count ||
      calibration.kv_head_count != model_layout.kv_head_count ||
      calibration.head_dim != model_layout.head_dim) {
    return InvalidArgument("the KV calibration has the shape of another model: " +
                           std::to_string(calibration.layers.size()) + " layers, this one has " +
                           std::to_string(model_layout.layer_count));
  }
  return MixedKvLayout(model_layout, calibration.layers);
}

}  // namespace kvasir
