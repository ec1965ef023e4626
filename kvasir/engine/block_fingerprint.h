// The fingerprint of an engine's blocks: everything that decides what bytes a token's keys and
// values are, beside the tokens themselves. A pure function.

#ifndef KVASIR_ENGINE_BLOCK_FINGERPRINT_H_
#define KVASIR_ENGINE_BLOCK_FINGERPRINT_H_

#include <string_view>

#include "kvasir/base/hash.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/model/model.h"

namespace kvasir {

// `model_identity` as in EngineOptions; `numerics_class` as in kernels/cpu_target.h.
Digest BlockFingerprint(const ModelSpec& spec, const KvBlockLayout& layout,
                        std::string_view model_identity, std::string_view numerics_class);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_BLOCK_FINGERPRINT_H_
