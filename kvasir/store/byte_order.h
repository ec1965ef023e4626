// StoreNumber and LoadNumber: numbers in records and index files, little-endian, at any address.
// Pure functions, any thread.

#ifndef KVASIR_STORE_BYTE_ORDER_H_
#define KVASIR_STORE_BYTE_ORDER_H_

#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "kvasir/base/check.h"
#include "kvasir/base/hash.h"

namespace kvasir {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

// REQUIRES offset + sizeof(T) <= bytes.size(), as the others do.
template <typename T>
void StoreNumber(std::span<std::byte> bytes, size_t offset, std::type_identity_t<T> value) {
  KVASIR_CHECK(offset + sizeof(T) <= bytes.size());
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

template <typename T>
T LoadNumber(std::span<const std::byte> bytes, size_t offset) {
  KVASIR_CHECK(offset + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

inline void StoreDigest(std::span<std::byte> bytes, size_t offset, const Digest& digest) {
  KVASIR_CHECK(offset + sizeof(digest.bytes) <= bytes.size());
  std::memcpy(bytes.data() + offset, digest.bytes.data(), sizeof(digest.bytes));
}

inline Digest LoadDigest(std::span<const std::byte> bytes, size_t offset) {
  KVASIR_CHECK(offset + sizeof(Digest::bytes) <= bytes.size());
  Digest digest;
  std::memcpy(digest.bytes.data(), bytes.data() + offset, sizeof(digest.bytes));
  return digest;
}

}  // namespace kvasir

#endif  // KVASIR_STORE_BYTE_ORDER_H_
