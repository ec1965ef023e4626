// ReuseModel: what is to be expected of a cached record, learnt from those before it. Records are
// told apart by how often they were used and by how long ago the last use was; for each such cell
// the model counts how many records were used again and how long records waited in it, and says
// what holding one brings: uses per record and unit of time, over the stretch of waiting that makes
// the most of it. Where uses come soon or not at all that is LRU, where they come after a pause it
// keeps what has waited, where the same few records come again and again it is LFU. Time counts
// records that were asked for, so that nothing depends on a clock. A value, deterministic; not
// synchronised.

#ifndef KVASIR_BASE_REUSE_MODEL_H_
#define KVASIR_BASE_REUSE_MODEL_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace kvasir {

class ReuseModel {
 public:
  // Used once, twice, three times, more often. Eight classes gained nothing in any replayed trace.
  static constexpr size_t kUseClassCount = 4;
  // Bin b holds the ages from 2^b to 2^(b+1) - 1, bin 0 also age 0. A server that is asked for ten
  // thousand records a second gets to the last after 3 years.
  static constexpr size_t kAgeBinCount = 40;

  static size_t NextUseClass(size_t use_class) {
    return std::min(use_class + 1, kUseClassCount - 1);
  }
  static size_t AgeBin(uint64_t age) {
    return std::min(size_t(std::bit_width(age | 1)) - 1, kAgeBinCount - 1);
  }

  // For a cache of about this many records: sets how much must be seen to be believed.
  explicit ReuseModel(size_t record_count_expected);

  // A record was used again, `age` after its last use.
  void CountReuse(size_t use_class, uint64_t age) { ++reuses_[use_class][AgeBin(age)]; }
  // Records of this class and age waited for `record_time` together: records times time.
  void CountWaiting(size_t use_class, uint64_t age, double record_time) {
    waiting_[use_class][AgeBin(age)] += record_time;
  }
  // Makes what was counted count from now on, and lets older counts fade.
  void Learn();

  // Uses per record and unit of time.
  double Value(size_t use_class, size_t age_bin) const { return values_[use_class][age_bin]; }
  // How many uses a record that has just been used will still see, beyond those that its place
  // would bring otherwise: `price` uses per unit of time. 0 or more.
  double Gain(size_t use_class, double price) const;

 private:
  using Cells = std::array<std::array<double, kAgeBinCount>, kUseClassCount>;

  double prior_uses_;
  Cells reuses_ = {};
  Cells waiting_ = {};
  Cells rates_ = {};   // uses per record and unit of time while in the cell
  Cells values_ = {};  // the same over the best stretch that begins there
};

}  // namespace kvasir

#endif  // KVASIR_BASE_REUSE_MODEL_H_
