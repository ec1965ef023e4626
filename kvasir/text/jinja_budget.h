// JinjaBudget: what one rendering may still spend. Every node, list element and string byte that a
// template makes or looks through is paid for here, so that no template runs for ever or fills the
// memory: live bytes stay below about 64 per step. One per rendering; not for concurrent use.

#ifndef KVASIR_TEXT_JINJA_BUDGET_H_
#define KVASIR_TEXT_JINJA_BUDGET_H_

#include <cstddef>
#include <string>

#include "kvasir/base/status.h"
#include "kvasir/text/chat_template.h"

namespace kvasir {

class JinjaBudget {
 public:
  explicit JinjaBudget(const ChatTemplateLimits& limits)
      : limits_(limits), steps_left_(limits.steps_max) {}

  // kResourceExhausted when fewer than `steps` are left.
  Status SpendSteps(size_t steps) {
    if (steps > steps_left_) {
      return ResourceExhausted("the chat template needs more than " +
                               std::to_string(limits_.steps_max) + " steps");
    }
    steps_left_ -= steps;
    return OkStatus();
  }

  // A string or list of `bytes` is about to be made. 64 bytes cost a step: about what copying them
  // takes compared with evaluating a node.
  Status SpendBytes(size_t bytes) {
    KVASIR_RETURN_IF_ERROR(CheckBytes(bytes));
    return SpendSteps(1 + bytes / 64);
  }

  // A text that grows in parts, each paid for, now has `bytes`.
  Status CheckBytes(size_t bytes) const {
    if (bytes <= limits_.output_bytes_max) return OkStatus();
    return ResourceExhausted("the chat template makes a string or list of more than " +
                             std::to_string(limits_.output_bytes_max) + " bytes");
  }

  // Nested values (lists in lists) and source nesting.
  size_t depth_max() const { return limits_.depth_max; }
  // Nodes on the stack at a time. Macros that call each other stand deeper than the source is
  // nested: 8 * 128 nodes take below 2 MB of stack even under AddressSanitizer.
  size_t nodes_on_stack_max() const { return 8 * limits_.depth_max; }
  size_t output_bytes_max() const { return limits_.output_bytes_max; }

 private:
  const ChatTemplateLimits limits_;
  size_t steps_left_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_BUDGET_H_
