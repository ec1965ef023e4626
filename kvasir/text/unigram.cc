#include "kvasir/text/unigram.h"

#include <algorithm>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

// What an unknown character costs below the rarest token; SentencePiece's own constant.
constexpr double kUnknownPenalty = 10.0;

uint8_t ByteAt(const std::string& text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

Unigram::Unigram(std::vector<UnigramToken> tokens, double score_min, ScoreSums sums,
                 const UnknownPolicy& unknown)
    : tokens_(std::move(tokens)),
      first_(257),
      unknown_score_(score_min - kUnknownPenalty),
      sums_(sums),
      unknown_(unknown) {
  std::erase_if(tokens_, [](const UnigramToken& t) { return t.text.empty(); });
  std::sort(tokens_.begin(), tokens_.end(),
            [](const UnigramToken& a, const UnigramToken& b) { return a.text < b.text; });
  for (const UnigramToken& token : tokens_) ++first_[ByteAt(token.text, 0) + 1];
  for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
}

// Tries every token that begins at `start`.
void Unigram::Relax(std::string_view piece, size_t start, std::vector<Node>& nodes) const {
  const double here = nodes[start].score;
  const auto offer = [&](size_t end, double token_score, TokenId id) {
    Node& node = nodes[end];
    double score = here + token_score;
    if (sums_ == ScoreSums::kFloat) score = static_cast<float>(score);
    if (node.start == kUnreached || score > node.score) node = {score, start, id};
  };
  const uint8_t byte = static_cast<uint8_t>(piece[start]);
  const size_t char_bytes = DecodeUtf8(piece.substr(start)).byte_count;
  bool char_known = false;
  auto begin = tokens_.begin() + first_[byte];
  auto end = tokens_.begin() + first_[byte + 1];
  for (size_t length = 1; begin != end; ++length) {
    for (; begin != end && begin->text.size() == length; ++begin) {
      offer(start + length, begin->score, begin->id);
      char_known |= length == char_bytes;
    }
    if (start + length == piece.size()) break;
    const uint8_t next = static_cast<uint8_t>(piece[start + length]);
    begin = std::partition_point(
        begin, end, [&](const UnigramToken& t) { return ByteAt(t.text, length) < next; });
    end = std::partition_point(
        begin, end, [&](const UnigramToken& t) { return ByteAt(t.text, length) == next; });
  }
  if (!char_known) offer(start + char_bytes, unknown_score_, kNoToken);
}

void Unigram::Encode(std::string_view piece, TokenModelScratch& scratch,
                     std::vector<TokenId>& ids) const {
  std::vector<Node> nodes(piece.size() + 1);
  for (size_t start = 0; start < piece.size();
       start += DecodeUtf8(piece.substr(start)).byte_count) {
    Relax(piece, start, nodes);
  }
  // Back to front; unknown neighbours become one stretch.
  struct Part {
    size_t begin;
    size_t end;
    TokenId id;
  };
  std::vector<Part> parts;
  for (size_t end = piece.size(); end > 0; end = nodes[end].start) {
    const Node& node = nodes[end];
    if (unknown_.fuse_unk && node.id == kNoToken && !parts.empty() && parts.back().id == kNoToken) {
      parts.back().begin = node.start;
    } else {
      parts.push_back({node.start, end, node.id});
    }
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    Append(piece.substr(part->begin, part->end - part->begin), part->id, ids);
  }
}

void Unigram::Append(std::string_view text, TokenId id, std::vector<TokenId>& ids) const {
  if (id != kNoToken) {
    ids.push_back(id);
  } else if (unknown_.HasBytes(text)) {
    for (const char c : text) ids.push_back(unknown_.byte_tokens[static_cast<unsigned char>(c)]);
  } else if (unknown_.unk != kNoToken) {
    ids.push_back(unknown_.unk);
  }
}

}  // namespace kvasir
