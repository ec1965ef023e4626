// What of a tensor is not its bytes, as input of a hash: the digest of all weights and the cheap
// identity begin alike. Pure functions, any thread.

#ifndef KVASIR_WEIGHTS_TENSOR_HASH_H_
#define KVASIR_WEIGHTS_TENSOR_HASH_H_

#include <cstdint>
#include <span>

#include "kvasir/base/hash.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {

inline void UpdateNumber(Sha256& hash, uint64_t value) {
  hash.Update(std::as_bytes(std::span(&value, 1)));
}

// Role, layer, dtype, shape and size.
inline void UpdateTensorHead(Sha256& hash, const auto& role, const auto& tensor) {
  UpdateNumber(hash, static_cast<uint64_t>(role.first));
  UpdateNumber(hash, role.second);
  UpdateNumber(hash, static_cast<uint64_t>(tensor.dtype));
  UpdateNumber(hash, tensor.rows);
  UpdateNumber(hash, tensor.cols);
  UpdateNumber(hash, tensor.bytes.size());
}

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_TENSOR_HASH_H_
