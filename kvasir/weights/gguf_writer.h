// GgufWriter: writes a GGUF file, version 3, little-endian, in the layout that gguf.h draws. The
// file appears under its name only when it is complete: bytes go to a file beside it that Finish
// renames, and that disappears with a writer that has not finished. One thread at a time.

#ifndef KVASIR_WEIGHTS_GGUF_WRITER_H_
#define KVASIR_WEIGHTS_GGUF_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/weights/gguf.h"

namespace kvasir {

// Metadata in the order in which it was added. REQUIRES different keys.
class GgufMetadata {
 public:
  void Uint(std::string_view key, uint32_t value);
  void Float(std::string_view key, float value);
  void Bool(std::string_view key, bool value);
  void String(std::string_view key, std::string_view value);
  void Strings(std::string_view key, std::span<const std::string> values);
  void Floats(std::string_view key, std::span<const float> values);
  void Ints(std::string_view key, std::span<const int32_t> values);
  void Bools(std::string_view key, const std::vector<bool>& values);
  void Copy(const GgufEntry& entry);

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void Begin(std::string_view key, GgufType type);
  void BeginArray(std::string_view key, GgufType element_type, uint64_t count);

  std::string bytes_;
  uint64_t count_ = 0;
};

struct GgufTensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;  // outermost first

  uint64_t byte_count() const;  // REQUIRES whole blocks in a row
};

class GgufWriter {
 public:
  // Starts `path` with the header. kInvalidArgument when it exists and `replace` is not set, or is
  // no regular file; kResourceExhausted when the whole would not fit on the disk; kIoError when the
  // file beside it cannot be made.
  static Result<std::unique_ptr<GgufWriter>> Create(const std::string& path,
                                                    const GgufMetadata& metadata,
                                                    std::vector<GgufTensorInfo> tensors,
                                                    bool replace);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  uint64_t file_bytes() const { return file_bytes_; }

  // The next bytes of the tensors, in their order; a tensor may come in several pieces, a piece
  // belongs to one tensor. REQUIRES no more bytes than Create was told of.
  Status Append(std::span<const std::byte> bytes);
  // Gives the file its name. REQUIRES all bytes of all tensors.
  Status Finish();

 private:
  GgufWriter(std::string path, bool replace, std::vector<GgufTensorInfo> tensors);
  Status Open();
  Status CheckSpace() const;
  Status Write(const void* data, size_t byte_count);
  Status Pad();

  std::string path_;
  std::string partial_path_;
  bool replace_;
  std::vector<GgufTensorInfo> tensors_;
  int fd_ = -1;
  size_t tensor_ = 0;          // of which the next bytes are
  uint64_t tensor_bytes_ = 0;  // of it that are written
  uint64_t position_ = 0;
  uint64_t file_bytes_ = 0;
};

// kInvalidArgument when a file must not be written at `path`: it is a directory or another special
// file, or it exists and `replace` is not set.
Status CheckOutputPath(const std::string& path, bool replace);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_GGUF_WRITER_H_
