// ModelFamily: what Kvasir knows about one family of models: how its files are recognised, how
// their fields become a ModelSpec, what their tensors are called. Adding a family is a file beside
// this one and a line in AllFamilies(). Constant; any thread may use it.

#ifndef KVASIR_WEIGHTS_FAMILIES_FAMILY_H_
#define KVASIR_WEIGHTS_FAMILIES_FAMILY_H_

#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/weights/gguf.h"
#include "kvasir/weights/hf_config.h"
#include "kvasir/weights/model_spec.h"
#include "kvasir/weights/tensor_map.h"

namespace kvasir {

struct ModelFamily {
  std::string_view name;
  std::vector<std::string_view> gguf_architectures;  // general.architecture
  std::vector<std::string_view> hf_model_types;      // model_type in config.json
  // Fill everything in ModelSpec but `family`, `name` and, for GGUF, `tied_embeddings`. Null when
  // the family has no such files.
  Status (*read_gguf)(const GgufFile& file, ModelSpec* spec);
  Status (*read_hf)(const HfConfig& config, ModelSpec* spec);
  std::vector<TensorRule> tensors;
};

const ModelFamily& LlamaFamily();
const ModelFamily& MistralFamily();
const ModelFamily& Qwen2Family();
const ModelFamily& Qwen3Family();
const ModelFamily& Gemma3Family();

// The table of all families.
const std::vector<const ModelFamily*>& AllFamilies();

// kUnimplemented names what is supported.
Result<const ModelFamily*> FamilyByGgufArchitecture(std::string_view architecture);
Result<const ModelFamily*> FamilyByHfModelType(std::string_view model_type);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_FAMILIES_FAMILY_H_
