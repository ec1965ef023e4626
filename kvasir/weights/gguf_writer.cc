#include "kvasir/weights/gguf_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;  // what a file without general.alignment has

template <typename T>
void AppendValue(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendString(std::string_view text, std::string* out) {
  AppendValue<uint64_t>(text.size(), out);
  out->append(text);
}

uint64_t Aligned(uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

// Everything in front of the tensors' bytes.
std::string Header(const GgufMetadata& metadata, const std::vector<GgufTensorInfo>& tensors) {
  std::string header = "GGUF";
  AppendValue<uint32_t>(kVersion, &header);
  AppendValue<uint64_t>(tensors.size(), &header);
  AppendValue<uint64_t>(metadata.count(), &header);
  header += metadata.bytes();
  uint64_t offset = 0;
  for (const GgufTensorInfo& tensor : tensors) {
    AppendString(tensor.name, &header);
    AppendValue<uint32_t>(static_cast<uint32_t>(tensor.shape.size()), &header);
    for (size_t i = tensor.shape.size(); i-- > 0;) AppendValue(tensor.shape[i], &header);
    AppendValue<uint32_t>(GgufTensorTypeNumber(tensor.dtype), &header);
    AppendValue<uint64_t>(offset, &header);
    offset += Aligned(tensor.byte_count());
  }
  header.resize(Aligned(header.size()), '\0');
  return header;
}

std::string Mebibytes(uint64_t byte_count) {
  return std::to_string((byte_count + (1 << 20) - 1) >> 20) + " MiB";
}

// Of the last system call that failed on `path`.
Status SystemError(const std::string& what, const std::string& path) {
  const std::string message = what + " " + path + ": " + std::strerror(errno);
  return errno == ENOSPC || errno == EDQUOT ? ResourceExhausted(message) : IoError(message);
}

}  // namespace

void GgufMetadata::Begin(std::string_view key, GgufType type) {
  AppendString(key, &bytes_);
  AppendValue(static_cast<uint32_t>(type), &bytes_);
  ++count_;
}

void GgufMetadata::BeginArray(std::string_view key, GgufType element_type, uint64_t count) {
  Begin(key, GgufType::kArray);
  AppendValue(static_cast<uint32_t>(element_type), &bytes_);
  AppendValue(count, &bytes_);
}

void GgufMetadata::Uint(std::string_view key, uint32_t value) {
  Begin(key, GgufType::kUint32);
  AppendValue(value, &bytes_);
}

void GgufMetadata::Float(std::string_view key, float value) {
  Begin(key, GgufType::kFloat32);
  AppendValue(value, &bytes_);
}

void GgufMetadata::Bool(std::string_view key, bool value) {
  Begin(key, GgufType::kBool);
  AppendValue<uint8_t>(value ? 1 : 0, &bytes_);
}

void GgufMetadata::String(std::string_view key, std::string_view value) {
  Begin(key, GgufType::kString);
  AppendString(value, &bytes_);
}

void GgufMetadata::Strings(std::string_view key, std::span<const std::string> values) {
  BeginArray(key, GgufType::kString, values.size());
  for (const std::string& value : values) AppendString(value, &bytes_);
}

void GgufMetadata::Floats(std::string_view key, std::span<const float> values) {
  BeginArray(key, GgufType::kFloat32, values.size());
  for (const float value : values) AppendValue(value, &bytes_);
}

void GgufMetadata::Ints(std::string_view key, std::span<const int32_t> values) {
  BeginArray(key, GgufType::kInt32, values.size());
  for (const int32_t value : values) AppendValue(value, &bytes_);
}

void GgufMetadata::Bools(std::string_view key, const std::vector<bool>& values) {
  BeginArray(key, GgufType::kBool, values.size());
  for (const bool value : values) AppendValue<uint8_t>(value ? 1 : 0, &bytes_);
}

void GgufMetadata::Copy(const GgufEntry& entry) {
  Begin(entry.key, entry.type);
  bytes_.append(reinterpret_cast<const char*>(entry.value.data()), entry.value.size());
}

uint64_t GgufTensorInfo::byte_count() const {
  uint64_t element_count = 1;
  for (const uint64_t dimension : shape) element_count *= dimension;
  return DTypeBytes(dtype, element_count);
}

Status CheckOutputPath(const std::string& path, bool replace) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return OkStatus();
  if (!std::filesystem::is_regular_file(path, error)) {
    return InvalidArgument("'" + path + "' is not a regular file and cannot be replaced");
  }
  if (!replace) return InvalidArgument("'" + path + "' exists already, --force replaces it");
  return OkStatus();
}

GgufWriter::GgufWriter(std::string path, bool replace, std::vector<GgufTensorInfo> tensors)
    : path_(std::move(path)),
      partial_path_(path_ + ".partial-" + std::to_string(getpid())),
      replace_(replace),
      tensors_(std::move(tensors)) {}

GgufWriter::~GgufWriter() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(partial_path_.c_str());
}

Result<std::unique_ptr<GgufWriter>> GgufWriter::Create(const std::string& path,
                                                       const GgufMetadata& metadata,
                                                       std::vector<GgufTensorInfo> tensors,
                                                       bool replace) {
  KVASIR_RETURN_IF_ERROR(CheckOutputPath(path, replace));
  const std::string header = Header(metadata, tensors);
  std::unique_ptr<GgufWriter> writer(new GgufWriter(path, replace, std::move(tensors)));
  writer->file_bytes_ = header.size();
  for (const GgufTensorInfo& tensor : writer->tensors_) {
    writer->file_bytes_ += Aligned(tensor.byte_count());
  }
  KVASIR_RETURN_IF_ERROR(writer->CheckSpace());
  KVASIR_RETURN_IF_ERROR(writer->Open());
  KVASIR_RETURN_IF_ERROR(writer->Write(header.data(), header.size()));
  return writer;
}

Status GgufWriter::Open() {
  // A file of this name can only be what a process of the same number left behind.
  unlink(partial_path_.c_str());
  fd_ = open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  return fd_ < 0 ? SystemError("cannot write", partial_path_) : OkStatus();
}

Status GgufWriter::CheckSpace() const {
  std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (directory.empty()) directory = ".";
  struct statvfs disk;
  if (statvfs(directory.c_str(), &disk) != 0) {
    return SystemError("cannot write to", directory.string());
  }
  const uint64_t free_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  if (file_bytes_ <= free_bytes) return OkStatus();
  return ResourceExhausted("'" + path_ + "' would have " + Mebibytes(file_bytes_) +
                           ", its disk has " + Mebibytes(free_bytes) + " left");
}

Status GgufWriter::Write(const void* data, size_t byte_count) {
  const char* p = static_cast<const char*>(data);
  while (byte_count > 0) {
    const ssize_t written = write(fd_, p, byte_count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("cannot write", partial_path_);
    p += written;
    byte_count -= static_cast<size_t>(written);
    position_ += static_cast<uint64_t>(written);
  }
  return OkStatus();
}

Status GgufWriter::Pad() {
  constexpr char kZeros[kAlignment] = {};
  return Write(kZeros, Aligned(position_) - position_);
}

Status GgufWriter::Append(std::span<const std::byte> bytes) {
  KVASIR_CHECK(tensor_ < tensors_.size());
  KVASIR_RETURN_IF_ERROR(Write(bytes.data(), bytes.size()));
  tensor_bytes_ += bytes.size();
  const uint64_t whole = tensors_[tensor_].byte_count();
  KVASIR_CHECK(tensor_bytes_ <= whole);
  if (tensor_bytes_ < whole) return OkStatus();
  ++tensor_;
  tensor_bytes_ = 0;
  return Pad();
}

Status GgufWriter::Finish() {
  KVASIR_CHECK(tensor_ == tensors_.size() && position_ == file_bytes_);
  if (fsync(fd_) != 0) return SystemError("cannot write", partial_path_);
  // Without `replace` a file that has appeared meanwhile must stay; not every file system can
  // promise that.
  int failed = 0;
  if (replace_ || ((failed = renameat2(AT_FDCWD, partial_path_.c_str(), AT_FDCWD, path_.c_str(),
                                       RENAME_NOREPLACE)) != 0 &&
                   errno == EINVAL)) {
    failed = rename(partial_path_.c_str(), path_.c_str());
  }
  if (failed != 0 && errno == EEXIST) return CheckOutputPath(path_, replace_);
  if (failed != 0) return SystemError("cannot write", path_);
  close(fd_);
  fd_ = -1;
  return OkStatus();
}

}  // namespace kvasir
