// JinjaLoop: the `loop` of a for statement: where it stands, what came before and comes next. Draws
// the elements one by one, a step ahead only when the template asks for the next one, because a
// loop's filter may depend on what its body did. Owned by the rendering.

#ifndef KVASIR_TEXT_JINJA_LOOP_H_
#define KVASIR_TEXT_JINJA_LOOP_H_

#include <optional>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

class JinjaLoop : public JinjaObject {
 public:
  // `length`: of what is iterated over, nullopt when only counting can tell.
  JinjaLoop(JinjaIterator* iterator, std::optional<size_t> length)
      : JinjaObject(JinjaObjectKind::kLoop), iterator_(iterator), length_(length) {}

  std::string_view type_name() const override { return "LoopContext"; }

  // Goes on to the next element, which current() then is; false at the end.
  Result<bool> Advance(JinjaRuntime& runtime);
  const JinjaValue& current() const { return *current_; }
  // Of the current element, from 1 on.
  size_t index() const { return index_; }

  // loop.<name>, nullopt when there is no such thing.
  Result<std::optional<JinjaValue>> Member(JinjaRuntime& runtime, std::string_view name);
  Result<size_t> Length(JinjaRuntime& runtime);

 private:
  Result<bool> PeekNext(JinjaRuntime& runtime);
  Result<std::optional<JinjaValue>> Neighbour(JinjaRuntime& runtime, bool next);
  Result<JinjaValue> Cycle(const JinjaArguments& arguments) const;
  Result<JinjaValue> Changed(JinjaRuntime& runtime, const JinjaArguments& arguments);

  JinjaIterator* iterator_;
  std::optional<size_t> length_;
  size_t index_ = 0;
  std::optional<JinjaValue> previous_;
  std::optional<JinjaValue> current_;
  std::optional<JinjaValue> next_;              // drawn ahead
  std::optional<JinjaValue> changed_argument_;  // of the last loop.changed()
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_LOOP_H_
