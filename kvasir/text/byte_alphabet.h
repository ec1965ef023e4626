// The alphabet of byte-level vocabularies: GPT-2 writes each byte of a token as one printable
// character, so that token texts are valid UTF-8 without spaces or control characters. Pure
// functions, any thread.

#ifndef KVASIR_TEXT_BYTE_ALPHABET_H_
#define KVASIR_TEXT_BYTE_ALPHABET_H_

#include <optional>
#include <string>
#include <string_view>

namespace kvasir {

// The bytes that `text` stands for; nullopt when it has a character outside the alphabet.
std::optional<std::string> DecodeByteAlphabet(std::string_view text);

// The byte of a byte-fallback token: 0x0A for "<0x0A>"; nullopt for any other text.
std::optional<char> ParseByteToken(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_TEXT_BYTE_ALPHABET_H_
