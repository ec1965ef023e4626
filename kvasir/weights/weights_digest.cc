#include "kvasir/weights/weights_digest.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>

#include "kvasir/base/hash.h"
#include "kvasir/base/mapped_file.h"
#include "kvasir/weights/tensor_hash.h"

namespace kvasir {
namespace {

constexpr size_t kDigestCharacters = 64;

std::string ComputeDigest(const Checkpoint& checkpoint) {
  Sha256 hash;
  hash.Update("kvasir weights");
  for (const auto& [role, tensor] : checkpoint.tensors()) {
    UpdateTensorHead(hash, role, tensor);
    hash.Update(tensor.bytes);
  }
  return ToHex(hash.Finish());
}

// A name for the files as they are now; empty when one cannot be looked at. Changing a file changes
// its ctime, which nobody can set.
std::string StateOf(const Checkpoint& checkpoint) {
  Sha256 hash;
  hash.Update("kvasir weights state");
  if (checkpoint.file_paths().empty()) return "";
  for (const std::string& path : checkpoint.file_paths()) {
    std::error_code error;
    const std::string absolute = std::filesystem::absolute(path, error).string();
    struct stat file = {};
    if (error || stat(path.c_str(), &file) != 0) return "";
    UpdateNumber(hash, absolute.size());
    hash.Update(absolute);
    for (const int64_t number : {int64_t(file.st_dev), int64_t(file.st_ino), int64_t(file.st_size),
                                 int64_t(file.st_mtim.tv_sec), int64_t(file.st_mtim.tv_nsec),
                                 int64_t(file.st_ctim.tv_sec), int64_t(file.st_ctim.tv_nsec)}) {
      UpdateNumber(hash, static_cast<uint64_t>(number));
    }
  }
  return ToHex(hash.Finish());
}

bool IsDigest(const std::string& text) {
  return text.size() == kDigestCharacters &&
         text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Whoever writes at the same time writes the same; what is torn is not believed.
void Remember(const std::string& path, const std::string& digest) {
  const std::string temporary = path + "." + std::to_string(getpid());
  std::ofstream(temporary) << digest;
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) std::filesystem::remove(temporary, error);
}

}  // namespace

std::string WeightsDigest(const Checkpoint& checkpoint, const std::string& cache_directory) {
  const std::string state = cache_directory.empty() ? "" : StateOf(checkpoint);
  if (state.empty()) return ComputeDigest(checkpoint);
  const std::string path = cache_directory + "/" + state;
  const Result<std::string> known = ReadFile(path, kDigestCharacters);
  if (known.ok() && IsDigest(*known)) return *known;
  std::error_code error;
  std::filesystem::create_directories(cache_directory, error);
  const std::string digest = ComputeDigest(checkpoint);
  Remember(path, digest);
  return digest;
}

}  // namespace kvasir
