// The merge loop of BPE, shared by its two kinds: while any neighbours can be merged, merge the
// pair with the lowest rank, of equal ones the leftmost. Short pieces are scanned again and again,
// which is fastest; long ones use a heap, so that a text without a space costs n log n.

#ifndef KVASIR_TEXT_BPE_MERGE_H_
#define KVASIR_TEXT_BPE_MERGE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

inline constexpr uint32_t kNoMerge = UINT32_MAX;

struct BpeMerge {
  uint32_t rank = kNoMerge;  // lower is earlier; kNoMerge: the two do not merge
  TokenId id = kNoToken;
};

struct BpeSymbol {
  uint32_t begin = 0;       // in the piece
  uint32_t byte_count = 0;  // 0: merged into the symbol before it
  TokenId id = kNoToken;    // kNoToken: no token has this text
  // With the next symbol: for the scan, its current merge; for the heap, links.
  BpeMerge merge = {};
  uint32_t previous = 0;
  uint32_t next = 0;
};

struct BpeCandidate {
  uint32_t rank;
  uint32_t left;        // index of the left symbol
  uint32_t byte_count;  // of both when it was found: tells whether they have changed since
  TokenId id;
};

struct BpeScratch {
  std::vector<BpeSymbol> symbols;
  std::vector<BpeCandidate> heap;
};

// Up to this many symbols the scan, whose cost is quadratic, beats the heap.
inline constexpr size_t kBpeScanSymbolsMax = 48;

// `find(left, right)` returns the BpeMerge of two neighbours.
template <typename FindMerge>
void MergeByScan(std::vector<BpeSymbol>& symbols, const FindMerge& find) {
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) symbols[i].merge = find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    uint32_t best_rank = kNoMerge;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (symbols[i].merge.rank < best_rank) {
        best_rank = symbols[i].merge.rank;
        best = i;
      }
    }
    if (best_rank == kNoMerge) break;
    symbols[best].id = symbols[best].merge.id;
    symbols[best].byte_count += symbols[best + 1].byte_count;
    std::copy(symbols.begin() + best + 2, symbols.begin() + count, symbols.begin() + best + 1);
    --count;
    if (best + 1 < count) symbols[best].merge = find(symbols[best], symbols[best + 1]);
    if (best > 0) symbols[best - 1].merge = find(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

template <typename FindMerge>
void MergeByHeap(BpeScratch& scratch, const FindMerge& find) {
  std::vector<BpeSymbol>& symbols = scratch.symbols;
  std::vector<BpeCandidate>& heap = scratch.heap;
  const uint32_t count = static_cast<uint32_t>(symbols.size());
  const auto later = [](const BpeCandidate& a, const BpeCandidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  const auto candidate = [&](uint32_t left, uint32_t right, BpeCandidate* out) {
    const BpeMerge merge = find(symbols[left], symbols[right]);
    if (merge.rank == kNoMerge) return false;
    *out = {merge.rank, left, symbols[left].byte_count + symbols[right].byte_count, merge.id};
    return true;
  };
  heap.clear();
  BpeCandidate found;
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i].previous = i == 0 ? count : i - 1;  // `count` stands for none
    symbols[i].next = i + 1;
    if (i + 1 < count && candidate(i, i + 1, &found)) heap.push_back(found);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const BpeCandidate top = heap.back();
    heap.pop_back();
    BpeSymbol& left = symbols[top.left];
    if (left.byte_count == 0 || left.next == count) continue;
    BpeSymbol& right = symbols[left.next];
    if (left.byte_count + right.byte_count != top.byte_count) continue;  // one has grown
    left.id = top.id;
    left.byte_count = top.byte_count;
    right.byte_count = 0;
    left.next = right.next;
    if (left.next != count) symbols[left.next].previous = top.left;
    const auto push = [&](uint32_t a, uint32_t b) {
      if (!candidate(a, b, &found)) return;
      heap.push_back(found);
      std::push_heap(heap.begin(), heap.end(), later);
    };
    if (left.previous != count) push(left.previous, top.left);
    if (left.next != count) push(top.left, left.next);
  }
  std::erase_if(symbols, [](const BpeSymbol& s) { return s.byte_count == 0; });
}

// Merges scratch.symbols in place until no neighbours merge.
template <typename FindMerge>
void MergeSymbols(BpeScratch& scratch, const FindMerge& find) {
  if (scratch.symbols.size() <= kBpeScanSymbolsMax) {
    MergeByScan(scratch.symbols, find);
  } else {
    MergeByHeap(scratch, find);
  }
}

}  // namespace kvasir

#endif  // KVASIR_TEXT_BPE_MERGE_H_
