// HfConfig: the config.json of a Hugging Face directory as a FieldSource. A multimodal model keeps
// its language model's fields in "text_config"; those are then found first. Immutable; any thread
// may read.

#ifndef KVASIR_WEIGHTS_HF_CONFIG_H_
#define KVASIR_WEIGHTS_HF_CONFIG_H_

#include <string>
#include <string_view>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"
#include "kvasir/weights/field_reader.h"

namespace kvasir {

// The members of one JSON object as fields. `object` must outlive it and be an object.
class JsonFields : public FieldSource {
 public:
  JsonFields(const Json& object, std::string_view description)
      : object_(object), description_(description) {}
  FieldValue Find(std::string_view key) const override;
  std::string_view description() const override { return description_; }

 private:
  const Json& object_;
  std::string description_;
};

class HfConfig : public FieldSource {
 public:
  // `text` is the content of config.json. kInvalidArgument when it is not a JSON object.
  static Result<HfConfig> Parse(std::string_view text);

  // "llama", "gemma3_text" ...; empty when the file does not say.
  std::string model_type() const;
  // The member `key`, null when it is absent; a JSON null is a member.
  const Json* FindJson(std::string_view key) const;

  FieldValue Find(std::string_view key) const override;
  std::string_view description() const override { return "config.json"; }

 private:
  Json root_;
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_HF_CONFIG_H_
