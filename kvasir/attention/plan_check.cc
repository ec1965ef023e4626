// What PlanBatchAttention refuses: one sentence that names the argument, its value and what is
// allowed.

#include <algorithm>
#include <cmath>
#include <string>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/batch_attention.h"

namespace kvasir {

namespace {

// Sequences of up to 2^30 tokens: positions and sums of a few of them stay within int32.
constexpr int64_t kKvLenMax = int64_t{1} << 30;
constexpr uint32_t kHeadDimMax = 576;
// Positions reach variants as f32, which is exact up to here.
constexpr int32_t kVariantKvLenMax = 1 << 24;

std::string Allowed(const std::string& name, int64_t value, int64_t min, int64_t max) {
  return name + " is " + std::to_string(value) + ", allowed is " + std::to_string(min) + " to " +
         std::to_string(max);
}

Status CheckPerHead(const std::string& name, std::span<const float> numbers, uint32_t heads) {
  if (numbers.empty()) return OkStatus();
  if (numbers.size() != heads) {
    return InvalidArgument(name + " has " + std::to_string(numbers.size()) +
                           " entries, num_qo_heads = " + std::to_string(heads) + " are needed");
  }
  for (size_t head = 0; head < numbers.size(); ++head) {
    // A sink of -inf is a head without one.
    if (std::isnan(numbers[head]) || numbers[head] == INFINITY) {
      return InvalidArgument(name + "[" + std::to_string(head) + "] is " +
                             std::to_string(numbers[head]) + ", a finite number is needed");
    }
  }
  return OkStatus();
}

Status CheckSpec(const AttentionSpec& spec) {
  if (spec.head_dim < 1 || spec.head_dim > kHeadDimMax) {
    return InvalidArgument(Allowed("head_dim", spec.head_dim, 1, kHeadDimMax));
  }
  if (spec.head_dim_vo > kHeadDimMax) {
    return InvalidArgument(Allowed("head_dim_vo", spec.head_dim_vo, 1, kHeadDimMax));
  }
  if (spec.num_kv_heads == 0 || spec.num_qo_heads == 0 ||
      spec.num_qo_heads % spec.num_kv_heads != 0) {
    return InvalidArgument("num_qo_heads is " + std::to_string(spec.num_qo_heads) +
                           ", allowed are positive multiples of num_kv_heads " +
                           std::to_string(spec.num_kv_heads));
  }
  if (!std::isfinite(spec.sm_scale)) return InvalidArgument("sm_scale is not finite");
  if (spec.window_left < -1) {
    return InvalidArgument(Allowed("window_left", spec.window_left, -1, INT32_MAX));
  }
  if (!(spec.logits_soft_cap >= 0) || !std::isfinite(spec.logits_soft_cap)) {
    return InvalidArgument("logits_soft_cap must be 0 or a positive finite number");
  }
  KVASIR_RETURN_IF_ERROR(CheckPerHead("alibi_slopes", spec.alibi_slopes, spec.num_qo_heads));
  KVASIR_RETURN_IF_ERROR(CheckPerHead("sinks", spec.sinks, spec.num_qo_heads));
  if (spec.rope != nullptr && spec.rope->rotary_dim() > spec.head_dim) {
    return InvalidArgument(
        Allowed("rotary_dim of rope", spec.rope->rotary_dim(), 2, spec.head_dim));
  }
  if (spec.variant != nullptr) {
    if (spec.variant->softmax == nullptr) return InvalidArgument("variant has no softmax function");
    if (spec.logits_soft_cap > 0 || !spec.alibi_slopes.empty() ||
        !spec.packed_custom_mask.empty()) {
      return InvalidArgument(
          "a variant replaces logits_soft_cap, alibi_slopes and packed_custom_mask: give it or "
          "them");
    }
    if (!spec.variant->use_softmax && !spec.sinks.empty()) {
      return InvalidArgument("sinks need a variant that uses softmax");
    }
  }
  return OkStatus();
}

Status CheckIndptr(const std::string& name, std::span<const int32_t> indptr, size_t batch) {
  if (indptr.size() != batch + 1) {
    return InvalidArgument(name + " has " + std::to_string(indptr.size()) +
                           " entries, batch + 1 = " + std::to_string(batch + 1) + " are needed");
  }
  if (indptr[0] != 0) return InvalidArgument(name + "[0] is not 0");
  for (size_t b = 0; b < batch; ++b) {
    if (indptr[b + 1] < indptr[b]) {
      return InvalidArgument(name + " falls from " + std::to_string(indptr[b]) + " to " +
                             std::to_string(indptr[b + 1]) + " at entry " + std::to_string(b + 1));
    }
  }
  return OkStatus();
}

// Whether all of the ids are below page_count: the rare answer no is looked into by the caller.
bool PagesExist(std::span<const int32_t> ids, size_t page_count) {
  uint32_t largest[4] = {0, 0, 0, 0};  // as unsigned numbers, where negative ones are large
  size_t i = 0;
  for (; i + 4 <= ids.size(); i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) {
      largest[lane] = std::max(largest[lane], uint32_t(ids[i + lane]));
    }
  }
  for (; i < ids.size(); ++i) largest[0] = std::max(largest[0], uint32_t(ids[i]));
  const uint32_t all = std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3]));
  return ids.empty() || all < page_count;
}

Status CheckPageIds(const AttentionSpec& spec, const PagedKv& kv) {
  const size_t needed = size_t(kv.kv_indptr[kv.batch_size()]);
  const size_t stride = kv.kv_indices_head_stride;
  if (stride != 0 && stride < needed) {
    return InvalidArgument("kv_indices_head_stride is " + std::to_string(stride) +
                           ", kv_indptr asks for at least " + std::to_string(needed));
  }
  const size_t heads = stride == 0 ? 1 : spec.num_kv_heads;
  if ((heads - 1) * stride + needed > kv.kv_indices.size()) {
    return InvalidArgument("kv_indices has " + std::to_string(kv.kv_indices.size()) +
                           " entries, kv_indptr asks for " +
                           std::to_string((heads - 1) * stride + needed));
  }
  for (size_t head = 0; head < heads; ++head) {
    const std::span<const int32_t> ids = kv.kv_indices.subspan(head * stride, needed);
    if (PagesExist(ids, kv.page_count)) continue;
    for (size_t i = 0; i < needed; ++i) {
      if (ids[i] >= 0 && size_t(ids[i]) < kv.page_count) continue;
      return InvalidArgument("kv_indices[" + std::to_string(head * stride + i) + "] is " +
                             std::to_string(ids[i]) + ", there are " +
                             std::to_string(kv.page_count) + " pages");
    }
  }
  return OkStatus();
}

Status CheckPages(const AttentionSpec& spec, const PagedKv& kv) {
  if (kv.is_ragged && !kv.rows) return InvalidArgument("ragged KV needs rows");
  if (kv.is_ragged && kv.kv_indices_head_stride != 0) {
    return InvalidArgument("ragged KV has no kv_indices_head_stride");
  }
  if (kv.page_size < 1) return InvalidArgument(Allowed("page_size", kv.page_size, 1, kKvLenMax));
  if (!kv.rows && kv.page_size != int32_t{kKvBlockTokens}) {
    return InvalidArgument("page_size is " + std::to_string(kv.page_size) +
                           ", blocks have 32 tokens");
  }
  const size_t batch = kv.batch_size();
  KVASIR_RETURN_IF_ERROR(CheckIndptr("kv_indptr", kv.kv_indptr, batch));
  if (kv.is_ragged) {
    if (size_t(kv.kv_indptr[batch]) <= kv.page_count) return OkStatus();
    return InvalidArgument("kv_indptr ends at " + std::to_string(kv.kv_indptr[batch]) +
                           ", there are " + std::to_string(kv.page_count) + " tokens");
  }
  KVASIR_RETURN_IF_ERROR(CheckPageIds(spec, kv));
  for (size_t b = 0; b < batch; ++b) {
    const int64_t pages = kv.kv_indptr[b + 1] - kv.kv_indptr[b];
    if (pages == 0) continue;
    if (pages > kKvLenMax / kv.page_size) {
      return InvalidArgument(
          Allowed("pages of sequence " + std::to_string(b), pages, 0, kKvLenMax / kv.page_size));
    }
    const int32_t last = kv.kv_last_page_len[b];
    if (last < 1 || last > kv.page_size) {
      return InvalidArgument(
          Allowed("kv_last_page_len[" + std::to_string(b) + "]", last, 1, kv.page_size));
    }
  }
  return OkStatus();
}

Status CheckBlocks(const AttentionSpec& spec, const PagedKv& kv) {
  if (kv.layout.head_dim != spec.head_dim || kv.layout.kv_head_count != spec.num_kv_heads) {
    return InvalidArgument("the KV layout has " + std::to_string(kv.layout.kv_head_count) +
                           " heads of " + std::to_string(kv.layout.head_dim) +
                           " dims, the attention has " + std::to_string(spec.num_kv_heads) +
                           " of " + std::to_string(spec.head_dim));
  }
  if (spec.v_dim() != spec.head_dim) {
    return InvalidArgument("head_dim_vo is " + std::to_string(spec.head_dim_vo) +
                           ", blocks have values as long as keys, " +
                           std::to_string(spec.head_dim));
  }
  if (kv.kv_indptr[kv.batch_size()] > 0 &&
      (kv.base == nullptr || reinterpret_cast<uintptr_t>(kv.base) % 64 != 0)) {
    return InvalidArgument("the pages' base address is not a multiple of 64");
  }
  return OkStatus();
}

// The unencoded blocks of a quantised layout.
Status CheckOpenBlocks(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                       const PagedKv& kv) {
  if (spec.rope != nullptr) {
    return InvalidArgument("rope turns keys while they are read, which needs f32 or bf16 blocks");
  }
  if (!kv.open) return InvalidArgument("the KV layout is quantised, open is needed with it");
  if (!IsOpenBlockCount(kv.layout.open_blocks)) {
    return InvalidArgument("open_blocks of the KV layout is " +
                           std::to_string(kv.layout.open_blocks) + ", allowed are 1, 2, 4 and 8");
  }
  const OpenKv& open = *kv.open;
  if (!(open.layout == kv.layout.OpenLayout())) {
    return InvalidArgument("the layout of open is not the KV layout in bf16");
  }
  const size_t batch = kv.batch_size();
  KVASIR_RETURN_IF_ERROR(CheckIndptr("own_indptr", open.own_indptr, batch));
  const size_t count = size_t(open.own_indptr[batch]);
  if (count > open.own_slots.size()) {
    return InvalidArgument("own_slots has " + std::to_string(open.own_slots.size()) +
                           " entries, own_indptr asks for " + std::to_string(count));
  }
  for (size_t i = 0; i < count; ++i) {
    const std::byte* base = open.own_slots[i] < 0 ? open.staging_base : open.open_base;
    if (base != nullptr && reinterpret_cast<uintptr_t>(base) % 64 == 0) continue;
    return InvalidArgument("own_slots[" + std::to_string(i) + "] is " +
                           std::to_string(open.own_slots[i]) +
                           ", whose base address is null or not a multiple of 64");
  }
  if (open.first_own_block.size() != batch) {
    return InvalidArgument("first_own_block has " + std::to_string(open.first_own_block.size()) +
                           " entries, batch = " + std::to_string(batch) + " are needed");
  }
  for (size_t b = 0; b < batch; ++b) {
    const int32_t q_len = qo_indptr[b + 1] - qo_indptr[b], kv_len = kv.KvLen(b);
    if (q_len == 0 || kv_len == 0) continue;
    const int32_t first = OwnBlockBegin(kv.layout, kv_len - q_len) / int32_t{kKvBlockTokens};
    if (open.first_own_block[b] != first) {
      return InvalidArgument("first_own_block[" + std::to_string(b) + "] is " +
                             std::to_string(open.first_own_block[b]) +
                             ", the blocks of the first query begin with " + std::to_string(first));
    }
    const int32_t needed = (kv_len - 1) / int32_t{kKvBlockTokens} + 1 - first;
    const int32_t given = open.own_indptr[b + 1] - open.own_indptr[b];
    if (given < needed) {
      return InvalidArgument("sequence " + std::to_string(b) + " has " + std::to_string(given) +
                             " own slots, its queries lie in " + std::to_string(needed) +
                             " blocks");
    }
  }
  return OkStatus();
}

Status CheckRows(const AttentionSpec& spec, const PagedKv& kv) {
  const KvRows& rows = *kv.rows;
  if (rows.k_tail_dim >= spec.head_dim) {
    return InvalidArgument(Allowed("k_tail_dim", rows.k_tail_dim, 0, int64_t{spec.head_dim} - 1));
  }
  if (kv.kv_indptr[kv.batch_size()] == 0) return OkStatus();
  const auto check = [&](const std::string& name, const std::byte* data) {
    const size_t align = KvRowTypeBytes(rows.type);
    if (data == nullptr) return InvalidArgument(name + " is null");
    if (reinterpret_cast<uintptr_t>(data) % align != 0) {
      return InvalidArgument(name + " is not aligned to its numbers of " + std::to_string(align) +
                             " bytes");
    }
    return OkStatus();
  };
  KVASIR_RETURN_IF_ERROR(check("k", rows.k));
  KVASIR_RETURN_IF_ERROR(check("v", rows.v));
  return rows.k_tail_dim == 0 ? OkStatus() : check("k_tail", rows.k_tail);
}

Status CheckMask(const AttentionSpec& spec, std::span<const int32_t> qo_indptr, const PagedKv& kv) {
  if (spec.packed_custom_mask.empty()) return OkStatus();
  const size_t batch = kv.batch_size();
  KVASIR_RETURN_IF_ERROR(CheckIndptr("mask_indptr", spec.mask_indptr, batch));
  for (size_t b = 0; b < batch; ++b) {
    const int64_t bits = int64_t{qo_indptr[b + 1] - qo_indptr[b]} * kv.KvLen(b);
    const int64_t bytes = spec.mask_indptr[b + 1] - spec.mask_indptr[b];
    if (bytes < (bits + 7) / 8) {
      return InvalidArgument("the mask of sequence " + std::to_string(b) + " has " +
                             std::to_string(bytes) + " bytes, its q_len x kv_len bits need " +
                             std::to_string((bits + 7) / 8));
    }
  }
  if (size_t(spec.mask_indptr[batch]) > spec.packed_custom_mask.size()) {
    return InvalidArgument(
        "packed_custom_mask has " + std::to_string(spec.packed_custom_mask.size()) +
        " bytes, mask_indptr asks for " + std::to_string(spec.mask_indptr[batch]));
  }
  return OkStatus();
}

// What bounds the lengths of sequences: positions as f32, and the angles that are known.
Status CheckLengths(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                    const PagedKv& kv) {
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const int32_t kv_len = kv.KvLen(b);
    if (spec.rope != nullptr) {
      const int64_t positions = int64_t(spec.rope->position_count());
      const int32_t length = std::max(kv_len, qo_indptr[b + 1] - qo_indptr[b]);
      if (length > positions) {
        return InvalidArgument(
            Allowed("the length of sequence " + std::to_string(b), length, 0, positions) +
            " positions of rope");
      }
    }
    if ((spec.variant != nullptr || !spec.alibi_slopes.empty()) && kv_len > kVariantKvLenMax) {
      return InvalidArgument(
          Allowed("kv_len of sequence " + std::to_string(b), kv_len, 0, kVariantKvLenMax));
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                      const PagedKv& kv) {
  KVASIR_RETURN_IF_ERROR(CheckSpec(spec));
  KVASIR_RETURN_IF_ERROR(CheckPages(spec, kv));
  KVASIR_RETURN_IF_ERROR(kv.rows ? CheckRows(spec, kv) : CheckBlocks(spec, kv));
  KVASIR_RETURN_IF_ERROR(CheckIndptr("qo_indptr", qo_indptr, kv.batch_size()));
  if (!kv.rows && kv.layout.quantized()) {
    KVASIR_RETURN_IF_ERROR(CheckOpenBlocks(spec, qo_indptr, kv));
  }
  KVASIR_RETURN_IF_ERROR(CheckMask(spec, qo_indptr, kv));
  return CheckLengths(spec, qo_indptr, kv);
}

}  // namespace kvasir
