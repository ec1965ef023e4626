#include "kvasir/text/jinja_lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "kvasir/text/jinja_string_literal.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// One newline, whatever it was, and none at the very end.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameByte(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeNewlines(source)) {}

  Result<std::vector<JinjaToken>> Run() {
    while (position_ < source_.size()) {
      KVASIR_RETURN_IF_ERROR(LexText());
    }
    Push(JinjaTokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  enum class Tag { kBlock, kVariable, kComment };

  std::string_view Rest() const { return std::string_view(source_).substr(position_); }
  bool At(std::string_view text) const { return Rest().starts_with(text); }

  // Takes `bytes` of the source.
  void Skip(size_t bytes) {
    const std::string_view skipped = Rest().substr(0, bytes);
    line_ += static_cast<int>(std::count(skipped.begin(), skipped.end(), '\n'));
    if (!skipped.empty()) line_starting_ = skipped.back() == '\n';
    position_ += skipped.size();
  }

  void SkipSpace() { Skip(Rest().size() - JinjaStripLeft(Rest()).size()); }

  JinjaToken& Push(JinjaTokenKind kind, std::string text = std::string()) {
    JinjaToken token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    return tokens_.emplace_back(std::move(token));
  }

  // Text up to the next tag, then the tag.
  Status LexText() {
    size_t begin = position_;
    do {
      begin = source_.find('{', begin);
      if (begin == std::string::npos || begin + 1 == source_.size()) {
        Push(JinjaTokenKind::kData, source_.substr(position_));
        Skip(source_.size());
        return OkStatus();
      }
    } while (std::string_view("{%#").find(source_[++begin]) == std::string_view::npos);
    --begin;
    const char marker = source_[begin + 1];
    const Tag tag = marker == '{' ? Tag::kVariable : marker == '%' ? Tag::kBlock : Tag::kComment;
    const char sign = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    PushData(begin, sign, /*strip_line=*/tag != Tag::kVariable);
    const int tag_line = line_;
    if (tag == Tag::kBlock && LexRawBegin()) return LexRawBody(tag_line);
    Skip(has_sign ? 3 : 2);
    switch (tag) {
      case Tag::kComment:
        return SkipComment(tag_line);
      case Tag::kVariable:
        Push(JinjaTokenKind::kVariableBegin);
        return LexExpression("}}", JinjaTokenKind::kVariableEnd);
      case Tag::kBlock:
        Push(JinjaTokenKind::kBlockBegin);
        return LexExpression("%}", JinjaTokenKind::kBlockEnd);
    }
    return OkStatus();
  }

  // The text from here up to a tag at `end`, stripped as the tag's sign says.
  void PushData(size_t end, char sign, bool strip_line) {
    std::string_view text = Rest().substr(0, end - position_);
    const size_t bytes = text.size();
    if (sign == '-') {
      text = JinjaStripRight(text);
    } else if (sign != '+' && strip_line) {
      const size_t line_begin = text.rfind('\n') + 1;  // 0 when there is none
      const bool whole_line = line_begin > 0 || line_starting_;
      if (whole_line && JinjaStripLeft(text.substr(line_begin)).empty()) {
        text = text.substr(0, line_begin);
      }
    }
    if (!text.empty()) Push(JinjaTokenKind::kData, std::string(text));
    Skip(bytes);
    line_starting_ = false;
  }

  Status SkipComment(int begin_line) {
    const size_t end = source_.find("#}", position_);
    if (end == std::string::npos) {
      return JinjaSourceError(begin_line, "Missing end of comment tag");
    }
    const char sign = end > position_ ? source_[end - 1] : '\0';
    Skip(end + 2 - position_);
    FinishBlockTag(sign);
    return OkStatus();
  }

  // After the end of a block or comment: what its sign says about the white space behind.
  void FinishBlockTag(char sign) {
    if (sign == '-') {
      SkipSpace();
    } else if (sign != '+' && At("\n")) {
      Skip(1);
    }
  }

  // {% raw %}, taken when it is there.
  bool LexRawBegin() {
    std::string_view rest = Rest().substr(2);
    if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
    rest = JinjaStripLeft(rest);
    if (!rest.starts_with("raw")) return false;
    rest = JinjaStripLeft(rest.substr(3));
    const bool strip = rest.starts_with("-%}");
    if (!strip && !rest.starts_with("%}")) return false;
    rest.remove_prefix(strip ? 3 : 2);
    Skip(Rest().size() - rest.size());
    if (strip) SkipSpace();
    return true;
  }

  // Text up to {% endraw %}.
  Status LexRawBody(int begin_line) {
    for (size_t begin = position_; (begin = source_.find("{%", begin)) != std::string::npos;
         ++begin) {
      std::string_view rest = std::string_view(source_).substr(begin + 2);
      const char begin_sign = rest.empty() ? '\0' : rest[0];
      if (begin_sign == '-' || begin_sign == '+') rest.remove_prefix(1);
      rest = JinjaStripLeft(rest);
      if (!rest.starts_with("endraw")) continue;
      rest = JinjaStripLeft(rest.substr(6));
      const char end_sign = rest.empty() ? '\0' : rest[0];
      if (end_sign == '-' || end_sign == '+') rest.remove_prefix(1);
      if (!rest.starts_with("%}")) continue;
      PushData(begin, begin_sign, /*strip_line=*/true);
      Skip(Rest().size() - rest.size() + 2);
      FinishBlockTag(end_sign);
      return OkStatus();
    }
    return JinjaSourceError(begin_line, "Missing end of raw directive");
  }

  // The inside of a tag and its end.
  Status LexExpression(std::string_view end, JinjaTokenKind end_kind) {
    std::string open;  // brackets that are not closed yet
    while (position_ < source_.size()) {
      SkipSpace();
      if (position_ == source_.size()) break;
      if (open.empty() && LexEnd(end, end_kind)) return OkStatus();
      const char c = source_[position_];
      if (IsDigit(c)) {
        KVASIR_RETURN_IF_ERROR(LexNumber());
      } else if (IsNameByte(c)) {
        const size_t bytes =
            std::find_if_not(Rest().begin(), Rest().end(), IsNameByte) - Rest().begin();
        Push(JinjaTokenKind::kName, source_.substr(position_, bytes));
        Skip(bytes);
      } else if (c == '\'' || c == '"') {
        KVASIR_RETURN_IF_ERROR(LexString(c));
      } else {
        KVASIR_RETURN_IF_ERROR(LexOperator(open));
      }
    }
    return OkStatus();  // the parser will miss the end
  }

  bool LexEnd(std::string_view end, JinjaTokenKind end_kind) {
    const bool block = end_kind == JinjaTokenKind::kBlockEnd;
    char sign = source_[position_];
    const bool has_sign = sign == '-' || (block && sign == '+');
    if (!Rest().substr(has_sign).starts_with(end)) return false;
    if (!has_sign) sign = '\0';
    Push(end_kind);
    Skip(end.size() + has_sign);
    if (block) {
      FinishBlockTag(sign);
    } else if (sign == '-') {
      SkipSpace();
    }
    return true;
  }

  Status LexString(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return JinjaSourceError(line_, "a string has no closing quote");
    const Result<std::string> value =
        JinjaUnescape(std::string_view(source_).substr(position_ + 1, end - position_ - 1));
    if (!value.ok()) return JinjaSourceError(line_, value.status().message());
    Push(JinjaTokenKind::kString, *value);
    Skip(end + 1 - position_);
    return OkStatus();
  }

  // Digits with single underscores between them, from `offset` on; their end.
  size_t DigitsEnd(size_t offset) const {
    while (offset < source_.size() &&
           (IsDigit(source_[offset]) ||
            (source_[offset] == '_' && IsDigit(source_[offset - 1]) &&
             offset + 1 < source_.size() && IsDigit(source_[offset + 1])))) {
      ++offset;
    }
    return offset;
  }

  bool DigitAt(size_t offset) const { return offset < source_.size() && IsDigit(source_[offset]); }

  // The end of a float that begins here, nullopt when there is none.
  std::optional<size_t> FloatEnd() const {
    if (position_ > 0 && source_[position_ - 1] == '.') return std::nullopt;
    const size_t integer_end = DigitsEnd(position_);
    size_t end = integer_end;
    if (end < source_.size() && source_[end] == '.' && DigitAt(end + 1)) end = DigitsEnd(end + 1);
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool sign =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      if (DigitAt(end + 1 + sign)) end = DigitsEnd(end + 1 + sign);
    }
    return end == integer_end ? std::nullopt : std::optional(end);
  }

  Status LexNumber() {
    if (const std::optional<size_t> end = FloatEnd(); end.has_value()) {
      std::string digits = source_.substr(position_, *end - position_);
      std::erase(digits, '_');
      Push(JinjaTokenKind::kFloat).number = std::strtod(digits.c_str(), nullptr);
      Skip(*end - position_);
      return OkStatus();
    }
    const char second = position_ + 1 < source_.size() ? source_[position_ + 1] | 0x20 : '\0';
    const int base = source_[position_] != '0' ? 10
                     : second == 'x'           ? 16
                     : second == 'o'           ? 8
                     : second == 'b'           ? 2
                                               : 10;
    size_t end = position_;
    std::string digits;
    if (base != 10) {
      end = position_ + 2;
      const auto is_digit = [&](size_t i) {
        int value = 0;
        return i < source_.size() &&
               std::from_chars(&source_[i], &source_[i] + 1, value, base).ec == std::errc();
      };
      while (is_digit(end) || (end < source_.size() && source_[end] == '_' && is_digit(end + 1))) {
        ++end;
      }
      digits = source_.substr(position_ + 2, end - position_ - 2);
    }
    if (digits.empty()) {
      // A decimal number other than 0 does not begin with 0: "012" is 0, then 12.
      end = DigitsEnd(position_);
      digits = source_.substr(position_, end - position_);
      if (digits[0] == '0') {
        digits = digits.substr(0, std::min(digits.find_first_not_of("0_"), digits.size()));
        if (digits.back() == '_') digits.pop_back();
        end = position_ + digits.size();
      }
    }
    std::erase(digits, '_');
    int64_t value = 0;
    const auto error = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                       end - position_ > digits.size() ? base : 10)
                           .ec;
    if (error != std::errc()) {
      return JinjaSourceError(line_, "the integer " + digits + " does not fit into 64 bits");
    }
    Push(JinjaTokenKind::kInteger).integer = value;
    Skip(end - position_);
    return OkStatus();
  }

  Status LexOperator(std::string& open) {
    constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                               "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                               ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* const it = std::find_if(std::begin(kOperators), std::end(kOperators),
                                        [&](std::string_view op) { return At(op); });
    if (it == std::end(kOperators)) {
      const size_t bytes = JinjaCharBytes(source_, position_);
      return JinjaSourceError(line_, "unexpected char '" + source_.substr(position_, bytes) + "'");
    }
    const char c = (*it)[0];
    if (c == '(') open.push_back(')');
    if (c == '[') open.push_back(']');
    if (c == '{') open.push_back('}');
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) {
        return JinjaSourceError(line_, std::string("unexpected '") + c + "'");
      }
      open.pop_back();
    }
    Push(JinjaTokenKind::kOperator, std::string(*it));
    Skip(it->size());
    return OkStatus();
  }

  const std::string source_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<JinjaToken> tokens_;
};

}  // namespace

Result<std::vector<JinjaToken>> JinjaTokenize(std::string_view source) {
  return Lexer(source).Run();
}

Status JinjaSourceError(int line, std::string_view message) {
  return InvalidArgument("line " + std::to_string(line) + ": " + std::string(message));
}

}  // namespace kvasir
