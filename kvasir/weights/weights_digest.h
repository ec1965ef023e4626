// WeightsDigest: the name of weights whose results outlive the process: SHA-256 over role, type,
// shape and every byte of every tensor. Reading gigabytes takes seconds, so what was computed is
// remembered in a directory, by the path, size, inode and times of the files. Any thread.

#ifndef KVASIR_WEIGHTS_WEIGHTS_DIGEST_H_
#define KVASIR_WEIGHTS_WEIGHTS_DIGEST_H_

#include <string>

#include "kvasir/weights/checkpoint.h"

namespace kvasir {

// 64 hexadecimal digits. `cache_directory` is made when it is missing; where that cannot be, or it
// is empty, nothing is remembered.
std::string WeightsDigest(const Checkpoint& checkpoint, const std::string& cache_directory);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_WEIGHTS_DIGEST_H_
