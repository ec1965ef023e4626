#include <algorithm>
#include <cstring>
#include <string>

#include "kvasir/attention/append.h"
#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

// New rows that one task writes: at least ~8 KiB with the shortest rows we look at.
constexpr size_t kTaskRows = 32;

template <KvRowType kType>
float Load(const std::byte* row, size_t d) {
  if constexpr (kType == KvRowType::kF32) return LoadF32(row + 4 * d);
  if constexpr (kType == KvRowType::kBF16) return LoadBF16(row + 2 * d);
  return LoadF16(row + 2 * d);
}

template <KvRowType kType>
void Store(float x, std::byte* row, size_t d) {
  if constexpr (kType == KvRowType::kF32) {
    std::memcpy(row + 4 * d, &x, sizeof(x));
  } else {
    StoreU16(row + 2 * d, kType == KvRowType::kBF16 ? BF16FromF32(x) : F16FromF32(x));
  }
}

template <KvRowType kFrom, KvRowType kTo>
void CopyRow(const std::byte* from, size_t dim, std::byte* to) {
  if constexpr (kFrom == kTo) {
    std::memcpy(to, from, dim * KvRowTypeBytes(kTo));
  } else {
    for (size_t d = 0; d < dim; ++d) Store<kTo>(Load<kFrom>(from, d), to, d);
  }
}

using CopyRowFn = void (*)(const std::byte* from, size_t dim, std::byte* to);

template <KvRowType kFrom>
CopyRowFn CopyFunctionFrom(KvRowType to) {
  if (to == KvRowType::kF32) return CopyRow<kFrom, KvRowType::kF32>;
  return to == KvRowType::kBF16 ? CopyRow<kFrom, KvRowType::kBF16>
                                : CopyRow<kFrom, KvRowType::kF16>;
}

CopyRowFn CopyFunction(KvRowType from, KvRowType to) {
  if (from == KvRowType::kF32) return CopyFunctionFrom<KvRowType::kF32>(to);
  return from == KvRowType::kBF16 ? CopyFunctionFrom<KvRowType::kBF16>(to)
                                  : CopyFunctionFrom<KvRowType::kF16>(to);
}

Status CheckPageTable(const PagedKv& kv) {
  const size_t batch = kv.batch_size();
  if (kv.kv_indptr.size() != batch + 1) {
    return InvalidArgument("kv_indptr has " + std::to_string(kv.kv_indptr.size()) +
                           " entries, batch + 1 = " + std::to_string(batch + 1) + " are needed");
  }
  if (kv.kv_indptr[0] != 0) return InvalidArgument("kv_indptr[0] is not 0");
  for (size_t b = 0; b < batch; ++b) {
    if (kv.kv_indptr[b + 1] < kv.kv_indptr[b]) {
      return InvalidArgument("kv_indptr falls at entry " + std::to_string(b + 1));
    }
  }
  const size_t pages = size_t(kv.kv_indptr[batch]);
  if (kv.is_ragged && pages > kv.page_count) {
    return InvalidArgument("kv_indptr ends at " + std::to_string(pages) + ", there are " +
                           std::to_string(kv.page_count) + " tokens");
  }
  if (!kv.is_ragged && pages > kv.kv_indices.size()) {
    return InvalidArgument("kv_indices has " + std::to_string(kv.kv_indices.size()) +
                           " entries, kv_indptr asks for " + std::to_string(pages));
  }
  if (kv.page_size < 1) return InvalidArgument("page_size is below 1");
  return OkStatus();
}

// That new row i has a place.
Status CheckPlace(const PagedKv& kv, size_t i, int32_t sequence, int32_t position) {
  if (sequence < 0 || size_t(sequence) >= kv.batch_size()) {
    return InvalidArgument("batch_indices[" + std::to_string(i) + "] is " +
                           std::to_string(sequence) + ", the batch has " +
                           std::to_string(kv.batch_size()) + " sequences");
  }
  const int64_t pages = kv.kv_indptr[size_t(sequence) + 1] - kv.kv_indptr[size_t(sequence)];
  const int64_t capacity = pages * (kv.is_ragged ? 1 : kv.page_size);
  if (position < 0 || position >= capacity) {
    return InvalidArgument("positions[" + std::to_string(i) + "] is " + std::to_string(position) +
                           ", the pages of sequence " + std::to_string(sequence) + " hold " +
                           std::to_string(capacity) + " tokens");
  }
  if (kv.is_ragged) return OkStatus();
  const int32_t page = kv.PageId(size_t(sequence), 0, size_t(position / kv.page_size));
  if (page < 0 || size_t(page) >= kv.page_count) {
    return InvalidArgument("a page of sequence " + std::to_string(sequence) + " is " +
                           std::to_string(page) + ", there are " + std::to_string(kv.page_count) +
                           " pages");
  }
  return OkStatus();
}

// One array of KvRows and what is written to it.
struct Target {
  std::byte* data;
  KvRowStrides strides;
  const KvNewRows& rows;
  CopyRowFn copy;
  size_t number_bytes;

  Target(KvRowType type, std::byte* to, const KvRowStrides& to_strides, const KvNewRows& from)
      : data(to),
        strides(to_strides),
        rows(from),
        copy(CopyFunction(from.type, type)),
        number_bytes(KvRowTypeBytes(type)) {}

  void Write(size_t i, int64_t page, int64_t token, uint32_t num_kv_heads) const {
    if (rows.data == nullptr) return;
    const int64_t from_bytes = int64_t(KvRowTypeBytes(rows.type));
    const int64_t to_bytes = int64_t(number_bytes);
    for (int64_t head = 0; head < num_kv_heads; ++head) {
      const int64_t from = int64_t(i) * rows.token_stride + head * rows.head_stride;
      const int64_t to = page * strides.page + token * strides.token + head * strides.head;
      copy(rows.data + from * from_bytes, rows.dim, data + to * to_bytes);
    }
  }
};

}  // namespace

Status AppendPagedKvRows(const PagedKv& kv, uint32_t num_kv_heads,
                         std::span<const int32_t> batch_indices, std::span<const int32_t> positions,
                         const KvNewRows& k, const KvNewRows& v, const KvNewRows& k_tail,
                         ThreadPool& pool) {
  if (!kv.rows) return InvalidArgument("kv has blocks, rows are needed");
  KVASIR_RETURN_IF_ERROR(CheckPageTable(kv));
  if (batch_indices.size() != positions.size()) {
    return InvalidArgument("positions has " + std::to_string(positions.size()) +
                           " entries, batch_indices has " + std::to_string(batch_indices.size()));
  }
  for (size_t i = 0; i < positions.size(); ++i) {
    KVASIR_RETURN_IF_ERROR(CheckPlace(kv, i, batch_indices[i], positions[i]));
  }
  const KvRows& rows = *kv.rows;
  const Target targets[3] = {{rows.type, rows.k, rows.k_strides, k},
                             {rows.type, rows.v, rows.v_strides, v},
                             {rows.type, rows.k_tail, rows.k_tail_strides, k_tail}};
  constexpr const char* kNames[3] = {"k", "v", "k_tail"};
  for (size_t t = 0; t < 3; ++t) {
    if (targets[t].rows.data != nullptr && targets[t].data == nullptr) {
      return InvalidArgument(std::string(kNames[t]) + " is given, kv has no such rows");
    }
  }
  if (k_tail.data != nullptr && k_tail.dim != rows.k_tail_dim) {
    return InvalidArgument("k_tail has rows of " + std::to_string(k_tail.dim) +
                           " numbers, k_tail_dim is " + std::to_string(rows.k_tail_dim));
  }
  const auto write = [&](size_t i) {
    const size_t sequence = size_t(batch_indices[i]), position = size_t(positions[i]);
    const size_t page_size = kv.is_ragged ? 1 : size_t(kv.page_size);
    const int64_t id = kv.PageId(sequence, 0, position / page_size);
    for (const Target& target : targets) {
      // A ragged sequence is one page that begins at its first token.
      target.Write(i, kv.is_ragged ? 0 : id, kv.is_ragged ? id : int64_t(position % page_size),
                   num_kv_heads);
    }
  };
  const size_t count = positions.size();
  pool.ParallelFor((count + kTaskRows - 1) / kTaskRows, [&](size_t task, size_t) {
    const size_t end = std::min((task + 1) * kTaskRows, count);
    for (size_t i = task * kTaskRows; i < end; ++i) write(i);
  });
  return OkStatus();
}

Status BatchIndicesPositions(std::span<const int32_t> append_indptr,
                             std::span<const int32_t> seq_lens, std::vector<int32_t>* batch_indices,
                             std::vector<int32_t>* positions) {
  if (append_indptr.size() != seq_lens.size() + 1) {
    return InvalidArgument("append_indptr has " + std::to_string(append_indptr.size()) +
                           " entries, batch + 1 = " + std::to_string(seq_lens.size() + 1) +
                           " are needed");
  }
  if (append_indptr[0] != 0) return InvalidArgument("append_indptr[0] is not 0");
  batch_indices->clear();
  positions->clear();
  for (size_t b = 0; b < seq_lens.size(); ++b) {
    const int32_t count = append_indptr[b + 1] - append_indptr[b];
    if (count < 0) {
      return InvalidArgument("append_indptr falls at entry " + std::to_string(b + 1));
    }
    if (count > seq_lens[b]) {
      return InvalidArgument("seq_lens[" + std::to_string(b) + "] is " +
                             std::to_string(seq_lens[b]) + ", " + std::to_string(count) +
                             " tokens are appended");
    }
    for (int32_t i = 0; i < count; ++i) {
      batch_indices->push_back(int32_t(b));
      positions->push_back(seq_lens[b] - count + i);
    }
  }
  return OkStatus();
}

}  // namespace kvasir
