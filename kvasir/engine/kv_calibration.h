// KvCalibration: the sidecar file that `kvasir kv-calibrate` writes and `--kv auto` reads: which
// format the keys and values of each layer of one model have, and what that was measured to cost.
// JSON, one object:
//
//   {"kvasir_kv_calibration": 1,
//    "model": {"name": "...", "digest": 64 hexadecimal digits, "kv_heads": 3, "head_dim": 64},
//    "codec_version": 1,                              // formats/kv_codec.h
//    "rotation": "hadamard",
//    "budget_bits": 5.0,
//    "measured": {...},                               // see KvCalibrationMeasured
//    "map": [{"k": "int8", "v": "int4"}, ...],        // by layer
//    "evidence": {...}}                               // for people: never read
//
// The file is input like any other: what it says is checked, and nothing in it is ignored but the
// evidence. Pure functions, any thread.

#ifndef KVASIR_ENGINE_KV_CALIBRATION_H_
#define KVASIR_ENGINE_KV_CALIBRATION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

// Of the text that the map was chosen on.
struct KvCalibrationMeasured {
  double bits_per_element = 0;
  double mean_kl = 0;   // from bf16, nats
  double added_kl = 0;  // the sum of what each tensor caused alone
  double p999_kl = 0;
  double top1 = 0;
  double perplexity = 0;
  double bf16_perplexity = 0;
  std::string text_name;
  std::string text_sha256;  // 64 hexadecimal digits
  size_t window_tokens = 0;
  size_t window_count = 0;
  size_t token_count = 0;  // scored
  bool operator==(const KvCalibrationMeasured&) const = default;
};

struct KvCalibration {
  std::string model_name;
  std::string model_digest;  // WeightsIdentity
  uint32_t kv_head_count = 0;
  uint32_t head_dim = 0;
  uint32_t codec_version = 0;
  std::string rotation;
  double budget_bits = 0;
  KvCalibrationMeasured measured;
  std::vector<KvFormats> layers;  // [layer_count]
  bool operator==(const KvCalibration&) const = default;
};

// Beyond any model; a bound on what a file can make us allocate.
inline constexpr size_t kKvCalibrationLayersMax = 4096;
inline constexpr size_t kKvCalibrationBytesMax = 16 << 20;

std::string WriteKvCalibration(const KvCalibration& calibration, const Json& evidence);
// kDataLoss names what is missing, malformed or unknown; kUnimplemented a version of the file, the
// codec or the rotation that this program does not have.
Result<KvCalibration> ParseKvCalibration(std::string_view text);
// The same from a file; messages name it.
Result<KvCalibration> ReadKvCalibration(const std::string& path);

// The layout of `model_layout` (any format) with the map's formats. kInvalidArgument when the map
// is that of a model with another digest or shape.
Result<KvBlockLayout> ApplyKvCalibration(const KvCalibration& calibration,
                                         std::string_view model_digest,
                                         const KvBlockLayout& model_layout);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_KV_CALIBRATION_H_
