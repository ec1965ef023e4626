// A variant of one's own: attention that sees the first few tokens and the latest ones (as
// StreamingLLM, Xiao et al., arXiv 2309.17453) and whose logits fall with the distance. The struct
// is compiled for every instruction set that Kvasir knows; `kvasir attention build` makes a shared
// object of the same lines in a header of their own. The result is compared with a plain loop.

#include <cmath>
#include <cstdio>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "examples/attention_variant.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/variant-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

struct Streaming {
  float sinks = 4;
  float near = 64;
  float decay = 0.5f;

  // Sixteen logits at a time; `keys` are the positions of their keys.
  FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const {
    const FloatLanes distance = float(row.position()) - keys;
    return logits - decay * distance / (distance + near);
  }
  LaneMask Visible(const AttentionRow& row, FloatLanes keys) const {
    return (keys < sinks) | (float(row.position()) - keys < near);
  }
};
KVASIR_ATTENTION_VARIANT(Streaming)

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {
namespace {

KVASIR_EXPORT_ATTENTION_VARIANT(Streaming)

constexpr int kTokens = 300, kHeadDim = 32;

// One query over kTokens keys, by the definition.
std::vector<double> PlainLoop(const HWY_NAMESPACE::Streaming& variant, const std::vector<float>& q,
                              const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<double> out(kHeadDim);
  double sum = 0;
  for (int t = 0; t < kTokens; ++t) {
    const double distance = kTokens - 1 - t;
    if (t >= int(variant.sinks) && distance >= double(variant.near)) continue;
    double logit = -double(variant.decay) * distance / (distance + double(variant.near));
    for (int d = 0; d < kHeadDim; ++d) logit += double(q[d]) * double(k[t * kHeadDim + d]);
    const double weight = std::exp(logit);
    sum += weight;
    for (int d = 0; d < kHeadDim; ++d) out[d] += weight * double(v[t * kHeadDim + d]);
  }
  for (double& x : out) x /= sum;
  return out;
}

int Main() {
  std::vector<float> q(kHeadDim), k(kTokens * kHeadDim), v(k.size()), out(kHeadDim);
  for (size_t i = 0; i < k.size(); ++i) k[i] = std::sin(float(i)), v[i] = std::cos(float(i) * 0.7f);
  for (size_t i = 0; i < q.size(); ++i) q[i] = std::sin(float(i) * 1.3f);

  // The tokens lie one behind the other, without pages.
  const std::vector<int32_t> qo_indptr = {0, 1}, kv_indptr = {0, kTokens};
  PagedKv kv = {.page_count = kTokens, .kv_indptr = kv_indptr, .is_ragged = true};
  kv.rows = KvRows::F32(k.data(), v.data(), KvRowStrides::Nhd(1, 1, kHeadDim));
  const HWY_NAMESPACE::Streaming params = {.sinks = 4, .near = 50, .decay = 2};
  const AttentionVariant variant = StreamingVariant(params);
  AttentionSpec spec = {.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = kHeadDim, .sm_scale = 1};
  spec.variant = &variant;
  BatchAttentionPlan plan;
  if (const Status status = PlanBatchAttention(spec, qo_indptr, kv, {}, &plan); !status.ok()) {
    std::fprintf(stderr, "attention_variant: %s\n", status.message().c_str());
    return 1;
  }
  ThreadPool pool(1);
  plan.Run(kv, 0, {q.data(), 1, kHeadDim}, {out.data(), 1, kHeadDim}, pool);

  const std::vector<double> expected = PlainLoop(params, q, k, v);
  double error = 0;
  for (size_t d = 0; d < kHeadDim; ++d) {
    error = std::fmax(error, std::fabs(double(out[d]) - expected[d]));
  }
  std::printf("largest difference from a plain loop: %.1e\n", error);
  return error < 1e-5 ? 0 : 1;
}

}  // namespace
}  // namespace kvasir

int main() { return kvasir::Main(); }
#endif  // HWY_ONCE
