// What the tests of the attention library share: batches over poisoned memory of every kind, and
// the scalar truth in float64 that every kernel is held against.

#ifndef KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_
#define KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"

namespace kvasir {

// Where the keys and values of a batch lie.
struct TestStorage {
  enum class Kind { kBlocks, kNhd, kHnd, kRagged };
  Kind kind = Kind::kBlocks;
  KvRowType type = KvRowType::kBF16;  // of blocks: f32 or bf16, of quantised ones what is encoded
  int32_t page_size = 32;
  KvFormats formats = KvFormat::kBF16;  // of blocks
  uint32_t open_blocks = 1;             // of quantised blocks

  TestStorage() = default;
  TestStorage(KvFormat format) : TestStorage(KvFormats(format)) {}  // NOLINT: blocks of a format
  TestStorage(KvFormats f)                                          // NOLINT: of two
      : type(f.k == KvFormat::kF32 ? KvRowType::kF32 : KvRowType::kBF16), formats(f) {}
  TestStorage(Kind k, KvRowType t, int32_t size)
      : kind(k),
        type(t),
        page_size(size),
        formats(t == KvRowType::kF32 ? KvFormat::kF32 : KvFormat::kBF16) {}
  bool quantized() const { return kind == Kind::kBlocks && formats.quantized(); }
  std::string Name() const;
};

// Numbers of one sequence: its keys and values, and its queries, which are its last q_len tokens.
struct TestSequence {
  int32_t kv_len = 0;
  int32_t q_len = 0;
  std::vector<float> k;       // [kv_len, num_kv_heads * head_dim]
  std::vector<float> v;       // [kv_len, num_kv_heads * v_dim]
  std::vector<float> q;       // [q_len, num_qo_heads * head_dim]
  std::vector<uint8_t> mask;  // [q_len, kv_len] of 0 and 1; all sequences of a batch, or none
  int32_t shared_from = -1;   // the earlier sequence whose pages hold the first tokens too
  int32_t shared_tokens = 0;  // how many; a multiple of the page size
  // Of quantised blocks, set by TestBatch: what the codec makes of the complete blocks. A query
  // reads them where they lie before its own block.
  KvFormats formats = KvFormat::kBF16;
  std::vector<float> encoded_k;  // [kv_len, num_kv_heads * head_dim]
  std::vector<float> encoded_v;
  std::vector<float> v_scales;  // [kv_len, num_kv_heads * head_dim], of each number
  int64_t group_tokens = 32;    // of blocks that are read unencoded together
};

// Normal random numbers; K and V rounded to the type, so that the truth sees what the memory holds.
TestSequence RandomSequence(const AttentionSpec& spec, const TestStorage& storage, int32_t kv_len,
                            int32_t q_len, std::mt19937& random);

// The first `kv_len` tokens of a sequence with the queries of the last q_len of them; q of
// `sequence` must be given for every token.
TestSequence Prefix(const AttentionSpec& spec, const TestSequence& sequence, int32_t kv_len,
                    int32_t q_len);

// A sequence whose first `tokens` tokens are those of `sequences[from]`, in the same pages.
void ShareTokens(const AttentionSpec& spec, const std::vector<TestSequence>& sequences,
                 int32_t from, int32_t tokens, TestSequence* sequence);

// Rows of all sequences: [rows, num_qo_heads * v_dim] and [rows, num_qo_heads].
struct TestOutput {
  std::vector<float> out;
  std::vector<float> lse;
};

// Sequences in memory that is NaN wherever no token lies. Page ids are dealt by `random`. Numbers
// are placed one by one, by KvBlockLayout's own KElement and VElement or by strides.
class TestBatch {
 public:
  static constexpr uint32_t kLayerCount = 2;
  static constexpr uint32_t kLayer = 1;  // holds the numbers; layer 0 stays poisoned

  TestBatch(const AttentionSpec& spec, const TestStorage& storage,
            std::vector<TestSequence> sequences, std::mt19937& random);

  const AttentionSpec& spec() const { return spec_; }  // with the masks of the sequences
  const PagedKv& kv() const { return kv_; }
  const std::vector<int32_t>& qo_indptr() const { return qo_indptr_; }
  const std::vector<TestSequence>& sequences() const { return sequences_; }
  size_t row_count() const { return size_t(qo_indptr_.back()); }

  // Plans for and runs on `thread_count` threads. The output was NaN before.
  std::vector<float> Run(size_t thread_count) const {
    return Run({.thread_count = thread_count}).out;
  }
  TestOutput Run(const AttentionPlanOptions& options) const;

 private:
  void DealPages(std::mt19937& random);
  void MakeBlocks();
  void MakeOpenBlocks();
  void EncodeBlocks(size_t sequence);
  void MakeRows();
  void Put(size_t sequence, int32_t token, uint32_t head);
  void PackMasks();

  AttentionSpec spec_;
  TestStorage storage_;
  std::vector<TestSequence> sequences_;
  std::vector<int32_t> qo_indptr_, kv_indptr_, kv_indices_, kv_last_page_len_;
  std::vector<uint8_t> mask_;
  std::vector<int32_t> mask_indptr_;
  AlignedBuffer memory_, v_memory_, open_memory_, staging_memory_;
  std::vector<int32_t> own_indptr_, own_slots_, first_own_block_;
  PagedKv kv_;
};

// Attention of one sequence by its definition, in float64: [q_len, num_qo_heads * v_dim] and
// [q_len, num_qo_heads]; RoPE turns by kTestRopeTheta.
inline constexpr float kTestRopeTheta = 10000;
struct ReferenceOutput {
  std::vector<double> out;
  std::vector<double> lse;
  // [q_len, num_qo_heads]: the largest sum of weight x |value| of a row's dims, which rounding
  // errors are relative to: where values cancel out, their sum is smaller.
  std::vector<double> scale;
  // [q_len, num_qo_heads]: what rounding the weights of quantised values to codes may add: six
  // standard deviations of independent errors of up to half a step.
  std::vector<double> rounding;
};
ReferenceOutput ReferenceAttention(const AttentionSpec& spec, const TestSequence& sequence);

// Costs with which sharing pages pays wherever there is any: reading is dear and there is no cache.
AttentionCosts CostsThatShare();

// The largest errors of results against the truth: of O relative to a row's scale, of LSE relative
// where it is above 1. Infinite where a number is NaN or only one LSE is -inf.
struct OutputError {
  double out = 0;
  double lse = 0;
};
OutputError CompareWithReference(std::span<const float> out, std::span<const float> lse,
                                 const ReferenceOutput& truth);

// The truth of several sequences, their rows one behind the other.
ReferenceOutput Concatenate(const std::vector<ReferenceOutput>& parts);

// The keys and values of a sequence as plain rows of f32, [kv_len, num_kv_heads, dim].
KvRows F32Rows(const AttentionSpec& spec, TestSequence* sequence);

// How often this program has called operator new (always 0 under a sanitizer, which has its own).
size_t AllocationCount();

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ATTENTION_TEST_UTIL_H_
