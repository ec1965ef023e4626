// KVASIR_CHECK: for programmer errors only. No user input, file or network byte may reach a failing
// check: those become a Status. Checks stay on in release builds; KVASIR_DCHECK is for hot loops
// and vanishes with NDEBUG. The condition is an expression of type void, so that it can stand
// before a comma.

#ifndef KVASIR_BASE_CHECK_H_
#define KVASIR_BASE_CHECK_H_

namespace kvasir {

// Prints "file:line: check failed: condition" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace kvasir

#define KVASIR_CHECK(condition)                 \
  (__builtin_expect(!!(condition), 1) ? (void)0 \
                                      : ::kvasir::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define KVASIR_DCHECK(condition) ((void)sizeof(!!(condition)))
#else
#define KVASIR_DCHECK(condition) KVASIR_CHECK(condition)
#endif

#endif  // KVASIR_BASE_CHECK_H_
