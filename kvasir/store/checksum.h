// Checksums of what leaves memory: xxh3-64 for payloads (tens of GB/s from cache), CRC-32C for
// headers and index entries, where any burst of up to 32 wrong bits must show. Neither is a defence
// against forgery: keys are SHA-256 (base/hash.h). Pure functions, any thread.

#ifndef KVASIR_STORE_CHECKSUM_H_
#define KVASIR_STORE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace kvasir {

uint64_t Xxh3(std::span<const std::byte> bytes);

// CRC-32C (Castagnoli, reflected) of `bytes` behind those whose CRC is `crc`.
uint32_t Crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

}  // namespace kvasir

#endif  // KVASIR_STORE_CHECKSUM_H_
