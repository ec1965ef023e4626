#include "kvasir/attention/block_sparse.h"

#include <algorithm>
#include <string>

namespace kvasir {

namespace {

Status CheckBlocks(const char* length_name, int32_t length, const char* block_name, int32_t block) {
  if (block < 1) {
    return InvalidArgument(std::string(block_name) + " is " + std::to_string(block) +
                           ", allowed is 1 and above");
  }
  if (length < 0 || length % block != 0) {
    return InvalidArgument(std::string(length_name) + " is " + std::to_string(length) +
                           ", allowed are multiples of " + block_name + " = " +
                           std::to_string(block));
  }
  return OkStatus();
}

Status CheckMatrix(const BlockSparseMatrix& matrix) {
  KVASIR_RETURN_IF_ERROR(CheckBlocks("M", matrix.m, "R", matrix.r));
  KVASIR_RETURN_IF_ERROR(CheckBlocks("N", matrix.n, "C", matrix.c));
  const size_t row_blocks = size_t(matrix.m / matrix.r);
  if (matrix.indptr.size() != row_blocks + 1) {
    return InvalidArgument("indptr has " + std::to_string(matrix.indptr.size()) +
                           " entries, M / R + 1 = " + std::to_string(row_blocks + 1) +
                           " are needed");
  }
  if (matrix.indptr[0] != 0) return InvalidArgument("indptr[0] is not 0");
  for (size_t i = 0; i < row_blocks; ++i) {
    if (matrix.indptr[i + 1] < matrix.indptr[i]) {
      return InvalidArgument("indptr falls from " + std::to_string(matrix.indptr[i]) + " to " +
                             std::to_string(matrix.indptr[i + 1]) + " at entry " +
                             std::to_string(i + 1));
    }
  }
  const size_t nnz = size_t(matrix.indptr.back());
  if (matrix.indices.size() < nnz) {
    return InvalidArgument("indices has " + std::to_string(matrix.indices.size()) +
                           " entries, indptr asks for " + std::to_string(nnz));
  }
  const int32_t column_blocks = matrix.n / matrix.c;
  for (size_t i = 0; i < nnz; ++i) {
    if (matrix.indices[i] < 0 || matrix.indices[i] >= column_blocks) {
      return InvalidArgument("indices[" + std::to_string(i) + "] is " +
                             std::to_string(matrix.indices[i]) +
                             ", allowed is 0 to N / C - 1 = " + std::to_string(column_blocks - 1));
    }
  }
  if (matrix.packed_mask.empty()) return OkStatus();
  const size_t block_bits = size_t(matrix.r) * size_t(matrix.c);
  if (block_bits > size_t{INT32_MAX} * 4 || nnz > (size_t{INT32_MAX} * 4) / block_bits) {
    return InvalidArgument("mask has nnz * R * C = " + std::to_string(nnz) + " * " +
                           std::to_string(block_bits) + " bits, allowed are 2^33");
  }
  const size_t bytes = (nnz * block_bits + 7) / 8;
  if (matrix.packed_mask.size() < bytes) {
    return InvalidArgument("mask has " + std::to_string(matrix.packed_mask.size()) +
                           " bytes, nnz * R * C bits need " + std::to_string(bytes));
  }
  return OkStatus();
}

// From a mask of blocks to the rows x keys of each row block's list.
void FlattenMask(const BlockSparseMatrix& matrix, std::vector<uint8_t>* mask,
                 std::vector<int32_t>* mask_indptr) {
  mask->clear();
  mask_indptr->assign(1, 0);
  const size_t r = size_t(matrix.r), c = size_t(matrix.c);
  for (size_t i = 0; i + 1 < matrix.indptr.size(); ++i) {
    const size_t first = size_t(matrix.indptr[i]), blocks = size_t(matrix.indptr[i + 1]) - first;
    const size_t begin = mask->size();
    mask->resize(begin + (blocks * r * c + 7) / 8);
    for (size_t bit = 0; bit < blocks * r * c; ++bit) {
      const size_t row = bit / (blocks * c), key = bit % (blocks * c);
      const size_t from = ((first + key / c) * r + row) * c + key % c;
      const uint8_t seen = (matrix.packed_mask[from / 8] >> (from % 8)) & 1;
      (*mask)[begin + bit / 8] |= uint8_t(seen << (bit % 8));
    }
    mask_indptr->push_back(int32_t(mask->size()));
  }
}

}  // namespace

PagedKv BlockSparseAttentionPlan::View(const KvRows& rows) const {
  PagedKv kv;
  kv.rows = rows;
  kv.rows->k_strides.page = c_ * rows.k_strides.token;
  kv.rows->v_strides.page = c_ * rows.v_strides.token;
  kv.rows->k_tail_strides.page = c_ * rows.k_tail_strides.token;
  kv.page_size = c_;
  kv.page_count = size_t(n_ / c_);
  kv.kv_indptr = kv_indptr_;
  kv.kv_indices = kv_indices_;
  kv.kv_last_page_len = kv_last_page_len_;
  return kv;
}

Status PlanBlockSparseAttention(const AttentionSpec& spec, const BlockSparseMatrix& matrix,
                                const KvRows& rows, const AttentionPlanOptions& options,
                                BlockSparseAttentionPlan* plan) {
  KVASIR_RETURN_IF_ERROR(CheckMatrix(matrix));
  if (!spec.packed_custom_mask.empty()) {
    return InvalidArgument("packed_custom_mask is set, a block-sparse mask is [nnz, R, C]");
  }
  const size_t row_blocks = matrix.indptr.size() - 1;
  plan->m_ = matrix.m;
  plan->n_ = matrix.n;
  plan->c_ = matrix.c;
  plan->kv_indptr_.assign(matrix.indptr.begin(), matrix.indptr.end());
  plan->kv_indices_.assign(matrix.indices.begin(), matrix.indices.begin() + matrix.indptr.back());
  plan->kv_last_page_len_.assign(row_blocks, matrix.c);
  plan->qo_indptr_.resize(row_blocks + 1);
  for (size_t i = 0; i <= row_blocks; ++i) plan->qo_indptr_[i] = int32_t(i) * matrix.r;
  AttentionSpec masked = spec;
  plan->mask_.clear();
  if (!matrix.packed_mask.empty()) {
    FlattenMask(matrix, &plan->mask_, &plan->mask_indptr_);
    masked.packed_custom_mask = plan->mask_;
    masked.mask_indptr = plan->mask_indptr_;
  }
  return PlanBatchAttention(masked, plan->qo_indptr_, plan->View(rows), options, &plan->attention_);
}

void BlockSparseAttentionPlan::Run(const KvRows& rows, MatrixView<const float> q,
                                   MatrixView<float> out, MatrixView<float> lse,
                                   ThreadPool& pool) const {
  attention_.Run(View(rows), 0, q, out, lse, pool);
}

}  // namespace kvasir
