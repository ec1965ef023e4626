// SHA-256: the one place that knows the cryptographic library. For identities that must not
// collide, by accident or on purpose. Any thread, one Sha256 by one thread at a time.

#ifndef KVASIR_BASE_HASH_H_
#define KVASIR_BASE_HASH_H_

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace kvasir {

struct Digest {
  std::array<std::byte, 32> bytes = {};
  auto operator<=>(const Digest&) const = default;
};

// For hash tables: any bytes of a cryptographic hash are a hash.
struct DigestHash {
  size_t operator()(const Digest& digest) const {
    size_t hash;
    std::memcpy(&hash, digest.bytes.data(), sizeof(hash));
    return hash;
  }
};

// 64 lower-case hexadecimal digits.
std::string ToHex(const Digest& digest);

// A hash in progress. CHECKs that the library can hash, which fails only without memory.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text);
  // The digest of everything since the last Finish; starts afresh.
  Digest Finish();

 private:
  evp_md_ctx_st* context_;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_HASH_H_
