// LoadCost: what reading blocks from a tier has cost lately, verification included, and whether
// reading or computing them is the quicker way. Measured, not configured: a latency and the seconds
// of each further block, as moving means over bursts of reading. Pure state without a clock; one
// thread.

#ifndef KVASIR_KV_LOAD_COST_H_
#define KVASIR_KV_LOAD_COST_H_

#include <cstddef>

namespace kvasir {

class LoadCost {
 public:
  // `block_bytes` makes the first guess: a plain SATA disk or a network of 1 Gbit/s.
  explicit LoadCost(size_t block_bytes);

  // A time in which a tier that had been idle was asked and answered, until it was idle again.
  struct Burst {
    size_t block_count = 0;    // that came, at least 1
    double first_seconds = 0;  // until the first of them came
    double seconds = 0;        // until the last of them came
  };
  void Observe(const Burst& burst);
  // Nothing came for so long: the latency is that at least.
  void ObserveSilence(double seconds);

  // Seconds from asking for so many blocks to the last of them.
  double Seconds(size_t block_count) const;
  double latency_seconds() const { return latency_seconds_; }
  double block_seconds() const { return block_seconds_; }

 private:
  bool observed_ = false;
  double latency_seconds_;  // until the first block comes, without the time for itself
  double block_seconds_;    // from one block to the next
};

// Blocks that a request could use, and what stands beside loading them.
struct LoadQuestion {
  size_t block_count = 0;
  size_t blocks_ahead = 0;     // that the tier has been asked for before
  double compute_seconds = 0;  // of computing them; 0 = not known yet
};

struct LoadAnswer {
  bool load = false;            // it is the quicker way
  double compute_seconds = 0;   // as asked, or what is taken for it
  double expected_seconds = 0;  // of loading
  double patience_seconds = 0;  // how long to wait without a block coming
};
LoadAnswer DecideLoad(const LoadQuestion& question, const LoadCost& cost);

// How a load is getting on that somebody waits for.
struct LoadProgress {
  size_t block_count = 0;
  size_t arrived_count = 0;
  double seconds = 0;              // since it was begun
  double seconds_since_first = 0;  // since its first block came
  double seconds_since_last = 0;   // since its last block came, or since it was begun
};
// Whether to go on waiting: something came within patience, the rest at the pace so far comes
// before it would be computed, and the whole has not taken as long as computing the whole. So a
// load costs a request at most what computing would have, beside computing.
bool KeepWaiting(const LoadProgress& progress, const LoadAnswer& answer);

}  // namespace kvasir

#endif  // KVASIR_KV_LOAD_COST_H_
