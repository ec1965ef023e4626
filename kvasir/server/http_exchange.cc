// Exchange: the part of a connection that other threads touch.

#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/server/http_connection.h"

namespace kvasir {

Exchange::Exchange(std::shared_ptr<HttpConnection> connection, size_t queue_bytes_max)
    : connection_(std::move(connection)), queue_bytes_max_(queue_bytes_max) {}

bool Exchange::Respond(HttpResponse response) {
  {
    std::lock_guard lock(mutex_);
    if (gone_ || begun_ || finished_) return false;
    KVASIR_CHECK(pending_.empty());
    head_ = std::move(response);
    responded_ = finished_ = true;
  }
  Wake();
  return true;
}

void Exchange::PrepareStream(HttpResponse head) {
  std::lock_guard lock(mutex_);
  KVASIR_CHECK(!responded_);
  if (head_taken_) return;
  head_ = std::move(head);
  prepared_ = true;
}

bool Exchange::Write(std::string_view bytes) {
  {
    std::lock_guard lock(mutex_);
    if (gone_ || overflowed_ || finished_) return false;
    KVASIR_CHECK(prepared_);
    if (pending_.size() + bytes.size() > queue_bytes_max_) {
      overflowed_ = true;
    } else {
      pending_.append(bytes);
    }
    begun_ = true;
  }
  Wake();
  return true;
}

void Exchange::Finish() {
  {
    std::lock_guard lock(mutex_);
    if (gone_ || finished_) return;
    finished_ = begun_ = true;
  }
  Wake();
}

void Exchange::OnGone(std::function<void()> on_gone) {
  {
    std::lock_guard lock(mutex_);
    if (!gone_) {
      on_gone_ = std::move(on_gone);
      return;
    }
  }
  on_gone();
}

bool Exchange::gone() const {
  std::lock_guard lock(mutex_);
  return gone_ || overflowed_;
}

void Exchange::Abandon() {
  bool forgotten;
  {
    std::lock_guard lock(mutex_);
    forgotten = !finished_ && !gone_;
    if (forgotten && !begun_) {
      head_ = HttpResponse{.status = 500};
      responded_ = true;
    }
    if (forgotten) finished_ = true;
  }
  if (forgotten) Wake();
}

Exchange::Output Exchange::Take(bool for_ping) {
  std::lock_guard lock(mutex_);
  wake_posted_ = false;
  Output output;
  output.overflowed = overflowed_;
  output.finished = finished_;
  taken_ = finished_;
  output.has_response = responded_;
  const bool begins = prepared_ && !responded_ && !head_taken_ && (begun_ || for_ping);
  if (responded_ || begins) output.head = std::exchange(head_, {});
  if (begins) output.stream_begins = head_taken_ = begun_ = true;
  output.bytes = std::exchange(pending_, {});
  return output;
}

void Exchange::MarkGone() {
  std::function<void()> on_gone;
  {
    std::lock_guard lock(mutex_);
    if (gone_ || taken_) return;
    gone_ = true;
    pending_ = {};
    on_gone = std::exchange(on_gone_, nullptr);
  }
  if (on_gone) on_gone();
}

void Exchange::Wake() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(wake_posted_, true)) return;
  }
  connection_->WakeWriter();
}

}  // namespace kvasir
