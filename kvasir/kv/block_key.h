// BlockKey: the content address of a sealed block: what was computed, by what, for whom.
//
//   fingerprint = H("kvasir fingerprint", tag, value, tag, value ...)     each with its length
//   key_0       = H("kvasir root", fingerprint, salt)
//   key_i       = H("kvasir block", key_{i-1}, tokens of block i)
//
// H is SHA-256; texts and byte strings are preceded by their length as 8 bytes, numbers are
// little-endian. Equal keys therefore mean: equal fields, equal salt, equal tokens from the first
// one on. Pure functions, any thread.

#ifndef KVASIR_KV_BLOCK_KEY_H_
#define KVASIR_KV_BLOCK_KEY_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "kvasir/base/hash.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

using BlockKey = Digest;

// Collects the fields that decide what bytes a block holds. Fields are told apart by tag and
// length: no two lists of fields hash the same input.
class FingerprintBuilder {
 public:
  FingerprintBuilder();
  FingerprintBuilder& Text(std::string_view tag, std::string_view value);
  FingerprintBuilder& Number(std::string_view tag, uint64_t value);
  FingerprintBuilder& Float(std::string_view tag, float value);  // by its bits
  FingerprintBuilder& Floats(std::string_view tag, std::span<const float> values);
  // The fingerprint; the builder is used up.
  Digest Finish();

 private:
  Sha256 hash_;
};

// The key in front of the first block.
BlockKey RootKey(const Digest& fingerprint, std::string_view salt);

// The key of a block. REQUIRES kKvBlockTokens tokens.
BlockKey NextKey(const BlockKey& parent, std::span<const TokenId> tokens);

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_KEY_H_
