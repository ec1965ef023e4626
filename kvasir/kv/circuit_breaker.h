// CircuitBreaker: keeps away from a device that fails. Closed, everything goes through. After
// kFailureCountMax failures in a row it opens: nothing goes through until a pause is over, then one
// try at a time, and each that fails doubles the pause. The first success closes it. Time is given
// to it, so that tests can turn the clock. One thread.

#ifndef KVASIR_KV_CIRCUIT_BREAKER_H_
#define KVASIR_KV_CIRCUIT_BREAKER_H_

#include <chrono>
#include <cstdint>

namespace kvasir {

class CircuitBreaker {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  static constexpr int kFailureCountMax = 3;
  // A device that comes back is used again within the longest pause, which is short beside what a
  // person notices as an outage; the shortest is long beside a try.
  static constexpr Duration kPauseMin = std::chrono::milliseconds(250);
  static constexpr Duration kPauseMax = std::chrono::seconds(4);

  enum class Answer {
    kPass,
    kTry,     // open, and a try is due: its end must be told, by Succeeded, Failed or Withdrawn
    kRefuse,  // open
  };
  Answer Ask(Time now);

  void Succeeded();
  void Failed(Time now);
  // What was let through ended without saying anything about the device.
  void Withdrawn() { trying_ = false; }

  bool open() const { return open_; }
  uint64_t opened_count() const { return opened_count_; }

 private:
  int failure_count_ = 0;  // in a row
  bool open_ = false;
  bool trying_ = false;
  Time next_try_ = {};
  Duration pause_ = kPauseMin;
  uint64_t opened_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_KV_CIRCUIT_BREAKER_H_
