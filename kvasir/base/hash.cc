#include "kvasir/base/hash.h"

#include <openssl/evp.h>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

// Looked up once: a lookup costs as much as hashing a block's tokens.
const EVP_MD* Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  KVASIR_CHECK(algorithm != nullptr);
  return algorithm;
}

}  // namespace

std::string ToHex(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : digest.bytes) {
    text += kDigits[std::to_integer<int>(byte) / 16];
    text += kDigits[std::to_integer<int>(byte) % 16];
  }
  return text;
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  KVASIR_CHECK(context_ != nullptr);
  KVASIR_CHECK(EVP_DigestInit_ex2(context_, Algorithm(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::Update(std::span<const std::byte> bytes) {
  KVASIR_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1);
}

void Sha256::Update(std::string_view text) { Update(std::as_bytes(std::span(text))); }

Digest Sha256::Finish() {
  Digest digest;
  unsigned int byte_count = 0;
  KVASIR_CHECK(EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.bytes.data()),
                                  &byte_count) == 1);
  KVASIR_CHECK(byte_count == digest.bytes.size());
  KVASIR_CHECK(EVP_DigestInit_ex2(context_, Algorithm(), nullptr) == 1);
  return digest;
}

}  // namespace kvasir
