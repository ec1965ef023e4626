#include "kvasir/base/reuse_model.h"

namespace kvasir {

namespace {

// Before anything is known, a record of age a is used again at the rate kPriorRate / a: the
// scale-free rule, under which the one that has waited longest is worth least (LRU). Any constant
// gives that order; this one is near what conversations show (a third of the blocks come back).
constexpr double kPriorRate = 0.3;
// What a count keeps of itself when the next are added: half after 532 times. EvictionPolicy learns
// 8 times per cache content, so that is 66 contents: blocks come and go a conversation at a time,
// and a class of them needs some hundred conversations to be known.
constexpr double kKept = 1 - 1.0 / 768;

double BinBegin(size_t bin) { return bin == 0 ? 0 : double(uint64_t{1} << bin); }

// The width of an age bin; the last one never ends.
double BinWidth(size_t bin) {
  return bin + 1 == ReuseModel::kAgeBinCount ? 1e18 : BinBegin(bin + 1) - BinBegin(bin);
}

// What becomes of a record in one bin, with uses that come at a constant rate.
struct Stay {
  double use_share;  // of the records that enter, those used before they leave it
  double time;       // that one of them waits in it, on average
};

Stay StayIn(size_t bin, double rate) {
  const double width = BinWidth(bin);
  return {rate * width / (1 + rate * width), width / (1 + rate * width)};
}

}  // namespace

// A cell is believed as soon as it has seen about as many uses as a thirty-second of the cache
// holds: blocks come a request at a time, some dozens alike, so that counts are worth less than
// their number.
ReuseModel::ReuseModel(size_t record_count_expected)
    : prior_uses_(std::max(8.0, double(record_count_expected) / 32)) {
  Learn();
}

void ReuseModel::Learn() {
  for (size_t bin = 0; bin < kAgeBinCount; ++bin) {
    // A class that was seen little is like all classes, and an age that was seen little is like the
    // prior.
    double uses = 0, time = 0;
    for (size_t c = 0; c < kUseClassCount; ++c) {
      uses += reuses_[c][bin];
      time += waiting_[c][bin];
    }
    const double middle_age = (BinBegin(bin) + BinBegin(bin + 1)) / 2;
    const double common =
        (uses + prior_uses_) / (time + prior_uses_ * std::max(1.0, middle_age) / kPriorRate);
    for (size_t c = 0; c < kUseClassCount; ++c) {
      rates_[c][bin] = (reuses_[c][bin] + prior_uses_) / (waiting_[c][bin] + prior_uses_ / common);
      reuses_[c][bin] *= kKept;
      waiting_[c][bin] *= kKept;
    }
  }
  for (size_t c = 0; c < kUseClassCount; ++c) {
    for (size_t bin = 0; bin < kAgeBinCount; ++bin) {
      double still_there = 1, uses = 0, time = 0, best = 0;
      for (size_t end = bin; end < kAgeBinCount; ++end) {
        const Stay stay = StayIn(end, rates_[c][end]);
        uses += still_there * stay.use_share;
        time += still_there * stay.time;
        still_there *= 1 - stay.use_share;
        best = std::max(best, uses / time);
      }
      values_[c][bin] = best;
    }
  }
}

double ReuseModel::Gain(size_t use_class, double price) const {
  double still_there = 1, gain = 0, best = 0;
  for (size_t bin = 0; bin < kAgeBinCount; ++bin) {
    const Stay stay = StayIn(bin, rates_[use_class][bin]);
    gain += still_there * (stay.use_share - price * stay.time);
    still_there *= 1 - stay.use_share;
    best = std::max(best, gain);
  }
  return best;
}

}  // namespace kvasir
