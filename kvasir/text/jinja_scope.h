// JinjaScope: the variables of one loop round, macro call or block, and where names are looked up
// next. A scope stays alive as long as a macro that was defined in it may be called: until the
// rendering ends.

#ifndef KVASIR_TEXT_JINJA_SCOPE_H_
#define KVASIR_TEXT_JINJA_SCOPE_H_

#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/text/jinja_value.h"

namespace kvasir {

class JinjaScope {
 public:
  explicit JinjaScope(JinjaScope* parent) : parent_(parent) {}

  JinjaScope* parent() const { return parent_; }
  bool captured() const { return captured_; }
  size_t size() const { return variables_.size(); }

  // The value of `name` in this scope alone, nullptr when it has none.
  const JinjaValue* Find(std::string_view name) const {
    for (const auto& [variable, value] : variables_) {
      if (variable == name) return &value;
    }
    return nullptr;
  }

  // `name` must outlive the scope: it belongs to the tree.
  void Set(std::string_view name, JinjaValue value) {
    for (auto& [variable, old_value] : variables_) {
      if (variable != name) continue;
      old_value = std::move(value);
      return;
    }
    variables_.emplace_back(name, std::move(value));
  }

  void Clear() { variables_.clear(); }

  // A macro keeps this scope and all around it.
  void Capture() {
    for (JinjaScope* scope = this; scope != nullptr && !scope->captured_; scope = scope->parent_) {
      scope->captured_ = true;
    }
  }

 private:
  JinjaScope* const parent_;
  bool captured_ = false;
  std::vector<std::pair<std::string_view, JinjaValue>> variables_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_SCOPE_H_
