#include "kvasir/kv/block_key.h"

#include <array>
#include <bit>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

static_assert(std::endian::native == std::endian::little,
              "keys hash numbers as they lie in memory");

void UpdateNumber(Sha256& hash, uint64_t value) {
  hash.Update(std::as_bytes(std::span(&value, 1)));
}

void UpdateText(Sha256& hash, std::string_view text) {
  UpdateNumber(hash, text.size());
  hash.Update(text);
}

}  // namespace

FingerprintBuilder::FingerprintBuilder() { UpdateText(hash_, "kvasir fingerprint"); }

FingerprintBuilder& FingerprintBuilder::Text(std::string_view tag, std::string_view value) {
  UpdateText(hash_, tag);
  UpdateText(hash_, value);
  return *this;
}

FingerprintBuilder& FingerprintBuilder::Number(std::string_view tag, uint64_t value) {
  UpdateText(hash_, tag);
  UpdateNumber(hash_, sizeof(value));
  UpdateNumber(hash_, value);
  return *this;
}

FingerprintBuilder& FingerprintBuilder::Float(std::string_view tag, float value) {
  return Floats(tag, {&value, 1});
}

FingerprintBuilder& FingerprintBuilder::Floats(std::string_view tag,
                                               std::span<const float> values) {
  UpdateText(hash_, tag);
  UpdateNumber(hash_, values.size_bytes());
  hash_.Update(std::as_bytes(values));
  return *this;
}

Digest FingerprintBuilder::Finish() { return hash_.Finish(); }

BlockKey RootKey(const Digest& fingerprint, std::string_view salt) {
  Sha256 hash;
  UpdateText(hash, "kvasir root");
  hash.Update(fingerprint.bytes);
  UpdateText(hash, salt);
  return hash.Finish();
}

BlockKey NextKey(const BlockKey& parent, std::span<const TokenId> tokens) {
  KVASIR_CHECK(tokens.size() == kKvBlockTokens);
  thread_local Sha256 hash;  // a context costs more than the hash of a block
  UpdateText(hash, "kvasir block");
  hash.Update(parent.bytes);
  hash.Update(std::as_bytes(tokens));
  return hash.Finish();
}

}  // namespace kvasir
