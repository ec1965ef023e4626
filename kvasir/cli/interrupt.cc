#include "kvasir/cli/interrupt.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// A signal handler reaches only statics, and these two operations on them are async-signal-safe.
std::atomic<bool> g_pressed{false};
std::atomic<int> g_event_fd{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void OnInterrupt(int) {
  const int saved_errno = errno;
  g_pressed.store(true);
  const uint64_t one = 1;
  if (const int fd = g_event_fd.load(); fd >= 0) (void)!write(fd, &one, sizeof(one));
  errno = saved_errno;
}

}  // namespace

InterruptScope::InterruptScope() {
  KVASIR_CHECK(g_event_fd.load() < 0);
  g_pressed.store(false);
  g_event_fd.store(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = SA_RESTART;  // nobody else's read or write fails because of it
  sigaction(SIGINT, &action, &previous_);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &previous_, nullptr);
  const int fd = g_event_fd.exchange(-1);
  if (fd >= 0) close(fd);
}

bool InterruptScope::pressed() const { return g_pressed.load(); }

void InterruptScope::Clear() {
  uint64_t count;
  if (g_event_fd.load() >= 0) (void)!read(g_event_fd.load(), &count, sizeof(count));
  g_pressed.store(false);
}

int InterruptScope::fd() const { return g_event_fd.load(); }

}  // namespace kvasir
