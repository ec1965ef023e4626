// What the tests of the attention library share: batches over poisoned pages, and the scalar truth
// in float64 that every kernel is held against.

#ifndef KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_
#define KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"

namespace kvasir {

// Numbers of one sequence: its keys and values, and its queries, which are its last q_len tokens.
struct TestSequence {
  int32_t kv_len = 0;
  int32_t q_len = 0;
  std::vector<float> k;  // [kv_len, num_kv_heads * head_dim]
  std::vector<float> v;  // the same
  std::vector<float> q;  // [q_len, num_qo_heads * head_dim]
};

// Normal random numbers; K and V rounded to bf16 where the format is, so that the truth sees what
// the pages hold.
TestSequence RandomSequence(const AttentionSpec& spec, KvFormat format, int32_t kv_len,
                            int32_t q_len, std::mt19937& random);

// The first `kv_len` tokens of a sequence with the queries of the last q_len of them; q of
// `sequence` must be given for every token.
TestSequence Prefix(const AttentionSpec& spec, const TestSequence& sequence, int32_t kv_len,
                    int32_t q_len);

// Sequences in pages of a pool that is NaN wherever no token lies. Page ids are dealt by `random`.
// Each number is placed by KvBlockLayout's own KElement and VElement.
class TestBatch {
 public:
  static constexpr uint32_t kLayerCount = 2;
  static constexpr uint32_t kLayer = 1;  // holds the numbers; layer 0 stays poisoned

  TestBatch(const AttentionSpec& spec, KvFormat format, std::vector<TestSequence> sequences,
            std::mt19937& random);

  const PagedKv& kv() const { return kv_; }
  const std::vector<int32_t>& qo_indptr() const { return qo_indptr_; }
  const std::vector<TestSequence>& sequences() const { return sequences_; }
  size_t row_count() const { return size_t(qo_indptr_.back()); }

  // Plans for and runs on `thread_count` threads. Rows of all sequences, [row_count, num_qo_heads *
  // head_dim]. The output was NaN before.
  std::vector<float> Run(size_t thread_count) const;

 private:
  void Place(size_t sequence);

  AttentionSpec spec_;
  std::vector<TestSequence> sequences_;
  std::vector<int32_t> qo_indptr_, kv_indptr_, kv_indices_, kv_last_page_len_;
  AlignedBuffer pool_;
  PagedKv kv_;
};

// Attention of one sequence by its definition, in float64: [q_len, num_qo_heads * head_dim].
std::vector<double> ReferenceAttention(const AttentionSpec& spec, const TestSequence& sequence);

// How often this program has called operator new (always 0 under a sanitizer, which has its own).
size_t AllocationCount();

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_
