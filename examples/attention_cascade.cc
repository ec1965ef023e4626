// A shared prefix: sixteen sequences that decode behind the same 2,048 tokens, whose pages they
// share. Nothing needs to be told: the plan finds equal leading pages, reads them once for all
// sequences, and the result is the same bits as without sharing.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "kvasir/attention/batch_attention.h"

using namespace kvasir;

constexpr int kSequences = 16, kPageSize = 16, kPrefixPages = 128;
constexpr int kPages = kPrefixPages + kSequences;  // and one page for each sequence alone
constexpr int kQoHeads = 4, kKvHeads = 1, kHeadDim = 64;

// Keys in the work items of a plan: what is read for one KV head.
size_t KeysRead(const BatchAttentionPlan& plan) {
  size_t keys = 0;
  for (const AttentionWorkItem& item : plan.work_items())
    keys += size_t(item.kv_end - item.kv_begin);
  return keys;
}

int main() {
  std::vector<float> k(kPages * kPageSize * kKvHeads * kHeadDim), v(k.size());
  std::vector<float> q(kSequences * kQoHeads * kHeadDim), out(q.size()), flat_out(q.size());
  for (size_t i = 0; i < k.size(); ++i) k[i] = std::sin(float(i)), v[i] = std::cos(float(i) * 0.7f);
  for (size_t i = 0; i < q.size(); ++i) q[i] = std::sin(float(i) * 1.3f);

  // Every sequence lists the pages of the prefix, then its own, which has 5 tokens so far.
  std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0}, kv_indices;
  for (int b = 0; b < kSequences; ++b) {
    for (int page = 0; page < kPrefixPages; ++page) kv_indices.push_back(page);
    kv_indices.push_back(kPrefixPages + b);
    kv_indptr.push_back(int32_t(kv_indices.size()));
    qo_indptr.push_back(b + 1);
  }
  const std::vector<int32_t> kv_last_page_len(kSequences, 5);
  PagedKv kv = {.page_count = kPages,
                .kv_indptr = kv_indptr,
                .kv_indices = kv_indices,
                .kv_last_page_len = kv_last_page_len,
                .page_size = kPageSize};
  kv.rows = KvRows::F32(k.data(), v.data(), KvRowStrides::Nhd(kPageSize, kKvHeads, kHeadDim));

  ThreadPool pool(2);
  const AttentionSpec spec = {kQoHeads, kKvHeads, kHeadDim, 0.125f};
  BatchAttentionPlan plan, flat;
  for (const bool cascade : {true, false}) {
    const AttentionPlanOptions options = {.thread_count = 2, .cascade = cascade};
    const Status status = PlanBatchAttention(spec, qo_indptr, kv, options, cascade ? &plan : &flat);
    if (!status.ok()) {
      std::fprintf(stderr, "attention_cascade: %s\n", status.message().c_str());
      return 1;
    }
  }
  const MatrixView<const float> queries(q.data(), kSequences, kQoHeads * kHeadDim);
  plan.Run(kv, 0, queries, {out.data(), kSequences, kQoHeads * kHeadDim}, pool);
  flat.Run(kv, 0, queries, {flat_out.data(), kSequences, kQoHeads * kHeadDim}, pool);

  const bool equal = std::memcmp(out.data(), flat_out.data(), out.size() * sizeof(float)) == 0;
  std::printf("%zu keys read instead of %zu, %s\n", KeysRead(plan), KeysRead(flat),
              equal ? "the same bits" : "OTHER BITS");
  return equal && KeysRead(plan) < KeysRead(flat) / 8 ? 0 : 1;
}
