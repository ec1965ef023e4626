#include "kvasir/weights/weights_identity.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include "kvasir/base/hash.h"
#include "kvasir/weights/tensor_hash.h"

namespace kvasir {
namespace {

constexpr size_t kSampleBytes = 4096;  // a page: reading less saves nothing

void UpdateSample(Sha256& hash, std::span<const std::byte> bytes, size_t offset) {
  hash.Update(bytes.subspan(offset, std::min(kSampleBytes, bytes.size() - offset)));
}

}  // namespace

std::string WeightsIdentity(const Checkpoint& checkpoint) {
  Sha256 hash;
  for (const auto& [role, tensor] : checkpoint.tensors()) {
    UpdateTensorHead(hash, role, tensor);
    const size_t last = tensor.bytes.size() - std::min(kSampleBytes, tensor.bytes.size());
    for (const size_t offset : {size_t{0}, last / 2, last})
      UpdateSample(hash, tensor.bytes, offset);
  }
  return ToHex(hash.Finish());
}

}  // namespace kvasir
