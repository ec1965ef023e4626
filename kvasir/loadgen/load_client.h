// LoadClient: sends a workload to one server and writes down what comes back. Everything happens on
// the calling thread, which waits until the last reply, the time limit, or a sign to stop.

#ifndef KVASIR_LOADGEN_LOAD_CLIENT_H_
#define KVASIR_LOADGEN_LOAD_CLIENT_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/loadgen/api_messages.h"
#include "kvasir/loadgen/prompt_maker.h"
#include "kvasir/loadgen/request_record.h"
#include "kvasir/loadgen/server_url.h"
#include "kvasir/loadgen/workload.h"

namespace kvasir {

struct LoadTarget {
  std::string name;  // in tables and charts
  ServerUrl url;
  std::string api_key;
  ApiStyle style;  // with the model; empty: the first that the server lists
};

struct LoadLimits {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds request_timeout{300'000};
  // Nothing goes on beyond it: neither requests nor rounds.
  std::chrono::steady_clock::time_point deadline;
};

struct LoadResult {
  std::vector<RequestRecord> records;  // those that were sent and have ended, in order of ending
  size_t unfinished_count = 0;         // sent, and cut off by the end of the run
  size_t unsent_count = 0;
  bool stopped = false;  // by the time limit or by the sign
};

class LoadClient {
 public:
  using Clock = std::chrono::steady_clock;

  // kIoError when the host cannot be found. `stop_fd` is a descriptor that becomes readable when
  // the run shall end early; -1: none.
  static Result<std::unique_ptr<LoadClient>> Create(LoadTarget target, LoadLimits limits,
                                                    int stop_fd);
  virtual ~LoadClient() = default;

  // Finds out the model when none was named. kIoError when nobody answers, kDataLoss when what
  // answers is no server of OpenAI's API, kInvalidArgument when it wants another key.
  virtual Status FindModel() = 0;

  // Counts tokens through the server's /tokenize; null when it has none. Lives as long as the
  // client.
  virtual TokenCounter MakeTokenCounter() = 0;

  // One conversation, unmeasured. The first failure as a Status; kDeadlineExceeded and kCancelled
  // when it was stopped.
  virtual Status WarmUp(const Conversation& conversation) = 0;

  // `on_progress` hears of each request that has ended.
  virtual LoadResult Run(const Workload& workload,
                         const std::function<void(size_t ended)>& on_progress) = 0;

  virtual const LoadTarget& target() const = 0;
};

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_LOAD_CLIENT_H_
