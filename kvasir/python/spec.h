// OwnedSpec: an AttentionSpec with the arrays that it points at, made from the keyword arguments of
// a plan. Not copied or moved once made: the spec points into it.

#ifndef KVASIR_PYTHON_SPEC_H_
#define KVASIR_PYTHON_SPEC_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/attention/attention_spec.h"
#include "kvasir/attention/rope_table.h"
#include "kvasir/python/variants.h"

namespace kvasir {

struct OwnedSpec {
  OwnedSpec() = default;
  OwnedSpec(const OwnedSpec&) = delete;
  OwnedSpec& operator=(const OwnedSpec&) = delete;

  AttentionSpec spec;
  std::vector<float> alibi_slopes, sinks;
  std::vector<uint8_t> packed_custom_mask;
  std::vector<int32_t> mask_indptr;
  std::shared_ptr<BoundVariant> variant;
  RopeTable rope;
  float rope_theta = 0, rope_scale = 0;  // theta 0: no RoPE
};

// Reads the fields of `from`, which have the names of AttentionSpec's, and rope_theta and
// rope_scale. Throws ValueError for what cannot be a field's value.
void ReadSpec(const pybind11::dict& from, OwnedSpec* owned);

// Fills the RoPE table for sequences of up to `length_max` tokens, if there is RoPE.
void MakeRope(int64_t length_max, OwnedSpec* owned);

// A Python integer within [min, max]; throws ValueError that names it otherwise.
int64_t IntegerFromPython(pybind11::handle object, const std::string& name, int64_t min,
                          int64_t max);

// The numbers of a dense array of one dimension: of int32 for indices, f32 for sinks and slopes,
// uint8 for masks. Throws ValueError for any other.
std::vector<int32_t> IndicesFromPython(pybind11::handle object, const std::string& name);
std::vector<float> FloatsFromPython(pybind11::handle object, const std::string& name);
std::vector<uint8_t> BytesFromPython(pybind11::handle object, const std::string& name);

}  // namespace kvasir

#endif  // KVASIR_PYTHON_SPEC_H_
