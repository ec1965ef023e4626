// JinjaTokenize: the source of a template -> its tokens, with the white-space rules that
// transformers sets: the first newline after a block is dropped (trim_blocks), as is white space
// before a block at the start of a line (lstrip_blocks), and the last newline of the source. Pure
// function, any thread.

#ifndef KVASIR_TEXT_JINJA_LEXER_H_
#define KVASIR_TEXT_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

enum class JinjaTokenKind {
  kData,           // text outside of tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,  // of the source
};

struct JinjaToken {
  JinjaTokenKind kind = JinjaTokenKind::kEnd;
  int line = 1;
  std::string text;  // of data, names, operators; strings without quotes and escapes
  int64_t integer = 0;
  double number = 0;

  bool Is(JinjaTokenKind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
  bool IsName(std::string_view name) const { return Is(JinjaTokenKind::kName, name); }
  bool IsOperator(std::string_view op) const { return Is(JinjaTokenKind::kOperator, op); }
};

// The tokens of `source`, with one kEnd last. kInvalidArgument names the line.
Result<std::vector<JinjaToken>> JinjaTokenize(std::string_view source);

// "line 3: message", as all errors about a source are written.
Status JinjaSourceError(int line, std::string_view message);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_LEXER_H_
