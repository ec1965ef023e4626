// CheckpointBuilder: assembles a Checkpoint from a GGUF file or a Hugging Face directory. Behind
// OpenCheckpoint; separate so that tests and fuzz targets can give it bytes. No state.

#ifndef KVASIR_WEIGHTS_CHECKPOINT_BUILDER_H_
#define KVASIR_WEIGHTS_CHECKPOINT_BUILDER_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "kvasir/base/status.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {

class CheckpointBuilder {
 public:
  // `bytes` must outlive the checkpoint.
  static Result<std::unique_ptr<Checkpoint>> FromGgufBytes(std::span<const std::byte> bytes);
  static Result<std::unique_ptr<Checkpoint>> FromGgufFile(const std::string& path);
  static Result<std::unique_ptr<Checkpoint>> FromHfDirectory(const std::string& directory);
  // One of the two.
  static Result<std::unique_ptr<Checkpoint>> FromPath(const std::string& path);
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_CHECKPOINT_BUILDER_H_
