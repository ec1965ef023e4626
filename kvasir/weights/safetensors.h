// Safetensors files: a JSON header with name, type, shape and byte range of each tensor, then the
// bytes. ParseSafetensors checks all of it against the bytes that are there. A checkpoint may be
// spread over several files (shards); ReadShardNames reads the index that names them. Pure
// functions; the tensors point into `bytes` and live as long as they.
//
//   | header byte count u64 | header: JSON, may end in spaces | tensor data |
//   {"name": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [begin, end]}, ...,
//    "__metadata__": {...}}
//
// Offsets count from the end of the header; the tensors fill the data without gaps or overlaps.

#ifndef KVASIR_WEIGHTS_SAFETENSORS_H_
#define KVASIR_WEIGHTS_SAFETENSORS_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/weights/file_tensor.h"

namespace kvasir {

// kDataLoss for truncated or inconsistent bytes, kInvalidArgument for what exceeds a limit.
Result<std::vector<FileTensor>> ParseSafetensors(std::span<const std::byte> bytes);

// The file names in the text of a model.safetensors.index.json, each once, sorted. Names that are
// not plain file names ending in .safetensors are refused: a path could lead out of the directory.
Result<std::vector<std::string>> ReadShardNames(std::string_view index_json);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_SAFETENSORS_H_
