// WeightsIdentity: a name for the weights of a checkpoint that two different models will not share,
// without reading gigabytes: SHA-256 over role, type, shape and three samples of 4 KiB of every
// tensor. Training changes every tensor everywhere; only a file edited on purpose could keep all
// samples and differ elsewhere. A pure function, any thread.

#ifndef KVASIR_WEIGHTS_WEIGHTS_IDENTITY_H_
#define KVASIR_WEIGHTS_WEIGHTS_IDENTITY_H_

#include <string>

#include "kvasir/weights/checkpoint.h"

namespace kvasir {

// 64 hexadecimal digits.
std::string WeightsIdentity(const Checkpoint& checkpoint);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_WEIGHTS_IDENTITY_H_
