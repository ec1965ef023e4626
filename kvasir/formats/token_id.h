// TokenId: an index into a model's vocabulary. The one word that text, kv, model and engine share.

#ifndef KVASIR_FORMATS_TOKEN_ID_H_
#define KVASIR_FORMATS_TOKEN_ID_H_

#include <cstdint>

namespace kvasir {

using TokenId = int32_t;
inline constexpr TokenId kNoToken = -1;

}  // namespace kvasir

#endif  // KVASIR_FORMATS_TOKEN_ID_H_
