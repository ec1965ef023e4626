// JinjaParse: the source of a template -> its tree, by jinja2's grammar without what reaches beyond
// the template (include, import, extends, block). Nothing is nested deeper than the limit, so that
// neither parsing nor walking nor freeing the tree can overflow the stack. Pure function, any
// thread.

#ifndef KVASIR_TEXT_JINJA_PARSER_H_
#define KVASIR_TEXT_JINJA_PARSER_H_

#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/text/chat_template.h"
#include "kvasir/text/jinja_ast.h"

namespace kvasir {

// kInvalidArgument names the line and what was not understood, kUnimplemented what jinja2 has and
// Kvasir has not, kResourceExhausted the limit that was hit.
Result<JinjaBody> JinjaParse(std::string_view source, const ChatTemplateLimits& limits);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_PARSER_H_
