// Work on plain strings that methods and filters of templates share, with Python's meaning. Pure
// functions but for the budget that they spend.

#ifndef KVASIR_TEXT_JINJA_TEXT_H_
#define KVASIR_TEXT_JINJA_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_budget.h"

namespace kvasir {

// text.strip(chars) or one half of it; without `chars`, white space goes.
std::string_view JinjaStrip(std::string_view text, const std::string* chars, bool left, bool right);

// text.split() and text.rsplit(): at runs of white space, at most `limit` times unless negative.
std::vector<std::string_view> JinjaSplitAtSpace(std::string_view text, int64_t limit, bool right);
// The same at each `separator`. REQUIRES one that is not empty.
std::vector<std::string_view> JinjaSplitAtSeparator(std::string_view text,
                                                    std::string_view separator, int64_t limit,
                                                    bool right);
// The lines of `text`, with their ends or without.
std::vector<std::string_view> JinjaSplitLines(std::string_view text, bool keep_ends);

// `text` with `old_text` replaced from the left, at most `limit` times unless negative.
Result<std::string> JinjaReplace(JinjaBudget& budget, std::string_view text,
                                 std::string_view old_text, std::string_view new_text,
                                 int64_t limit);

// `text` filled up to `width` characters at its left, its right or both sides.
Result<std::string> JinjaPad(JinjaBudget& budget, std::string_view text, int64_t width,
                             std::string_view fill, bool left, bool right);

// str.title() and str.swapcase().
std::string JinjaTitleCase(std::string_view text);
std::string JinjaSwapCase(std::string_view text);
// str.isupper() or str.islower().
bool JinjaIsCase(std::string_view text, bool upper);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_TEXT_H_
