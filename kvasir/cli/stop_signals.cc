#include "kvasir/cli/stop_signals.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// A signal handler reaches only statics, and these operations on them are async-signal-safe.
std::atomic<size_t> g_count{0};
std::atomic<int> g_event_fd{-1};
static_assert(std::atomic<size_t>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void OnStop(int) {
  const int saved_errno = errno;
  g_count.fetch_add(1);
  const uint64_t one = 1;
  if (const int fd = g_event_fd.load(); fd >= 0) (void)!write(fd, &one, sizeof(one));
  errno = saved_errno;
}

}  // namespace

StopSignals::StopSignals() {
  KVASIR_CHECK(g_event_fd.load() < 0);
  g_count.store(0);
  g_event_fd.store(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  struct sigaction action = {};
  action.sa_handler = OnStop;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, &previous_term_);
  sigaction(SIGINT, &action, &previous_int_);
}

StopSignals::~StopSignals() {
  sigaction(SIGTERM, &previous_term_, nullptr);
  sigaction(SIGINT, &previous_int_, nullptr);
  const int fd = g_event_fd.exchange(-1);
  if (fd >= 0) close(fd);
}

size_t StopSignals::count() const { return g_count.load(); }

void StopSignals::Wait(size_t seen, int timeout_ms) {
  const int fd = g_event_fd.load();
  while (count() <= seen) {
    pollfd ready{fd, POLLIN, 0};
    const int events = poll(&ready, 1, timeout_ms);
    uint64_t value;
    if (events > 0) (void)!read(fd, &value, sizeof(value));
    if (timeout_ms >= 0) return;
  }
}

}  // namespace kvasir
