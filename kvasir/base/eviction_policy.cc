#include "kvasir/base/eviction_policy.h"

#include <algorithm>
#include <bit>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// Keys remembered for each record: most blocks of a conversation come back only after four to
// eight contents of a small cache have passed. At 5 a cache of 1,000 blocks gets 6.4 % of the
// blocks of Mooncake's conversation trace, at 8 it gets 7.7 %, at any number 8.0 %.
constexpr size_t kGhostsPerItem = 8;
// What is learnt changes little in an eighth of a cache content; small caches need not hurry.
constexpr size_t kLearnsPerContent = 8;
constexpr uint64_t kLearnIntervalMin = 64;

// Half octaves: records within 1.5 times of one another's size are ranked alike.
size_t SizeClass(uint64_t bytes) {
  const int octave = std::bit_width(bytes) - 1;
  return size_t(2 * octave) + size_t(octave > 0 && (bytes >> (octave - 1) & 1));
}

// The smallest size of a class.
double SizeClassBytes(size_t size_class) {
  return double(uint64_t{1} << size_class / 2) * (size_class % 2 ? 1.5 : 1.0);
}

}  // namespace

EvictionPolicy::EvictionPolicy(size_t item_count_expected)
    : model_(item_count_expected),
      ghosts_(kGhostsPerItem * item_count_expected),
      records_(item_count_expected),
      ticks_to_learn_(std::max(item_count_expected / kLearnsPerContent, kLearnIntervalMin)),
      learn_interval_(ticks_to_learn_) {
  first_queue_.fill(-1);
}

EvictionPolicy::~EvictionPolicy() = default;

void EvictionPolicy::Insert(Item item, uint64_t key, Item parent, uint64_t bytes) {
  KVASIR_CHECK(item != kNone && !Contains(item) && bytes >= 1);
  KVASIR_CHECK(parent == kNone || Contains(parent));
  Tick();
  if (item >= records_.size()) records_.resize(size_t{item} + 1);
  size_t use_class = 0;
  if (const auto ghost = ghosts_.Find(key, now_)) {
    model_.CountReuse(ghost->use_class, now_ - ghost->last_use);
    use_class = ReuseModel::NextUseClass(ghost->use_class);
    ghosts_.Erase(key);
  }
  if (parent != kNone) {
    if (CanGo(records_[parent])) Dequeue(parent);
    ++records_[parent].child_count;
  }
  Record& r = records_[item];
  r = Record{.key = key, .parent = parent};
  r.last_use = now_;
  r.use_class = use_class;
  r.size_class = SizeClass(bytes);
  r.is_present = 1;
  ++item_count_;
  Enqueue(item);
}

void EvictionPolicy::Use(Item item) {
  KVASIR_CHECK(Contains(item));
  Tick();
  Record& r = records_[item];
  if (CanGo(r)) Dequeue(item);
  model_.CountReuse(r.use_class, now_ - r.last_use);
  r.use_class = ReuseModel::NextUseClass(r.use_class);
  r.last_use = now_;
  if (CanGo(r)) Enqueue(item);
}

void EvictionPolicy::Hold(Item item) {
  KVASIR_CHECK(Contains(item));
  if (CanGo(records_[item])) Dequeue(item);
  ++records_[item].hold_count;
}

void EvictionPolicy::Release(Item item) {
  KVASIR_CHECK(Contains(item) && records_[item].hold_count > 0);
  Record& r = records_[item];
  if (--r.hold_count > 0) return;
  r.last_use = now_;
  if (CanGo(r)) Enqueue(item);
}

void EvictionPolicy::Remove(Item item, bool remember) {
  KVASIR_CHECK(Contains(item) && records_[item].child_count == 0);
  Record& r = records_[item];
  if (CanGo(r)) Dequeue(item);
  if (remember) ghosts_.Put(r.key, {r.use_class, r.last_use}, now_);
  const Item parent = r.parent;
  r = Record();
  --item_count_;
  if (parent == kNone) return;
  --records_[parent].child_count;
  if (CanGo(records_[parent])) Enqueue(parent);
}

void EvictionPolicy::NoteAbsent(uint64_t key) {
  Tick();
  size_t use_class = 0;
  if (const auto ghost = ghosts_.Find(key, now_)) {
    model_.CountReuse(ghost->use_class, now_ - ghost->last_use);
    use_class = ReuseModel::NextUseClass(ghost->use_class);
  }
  ghosts_.Put(key, {use_class, now_}, now_);
}

EvictionPolicy::Item EvictionPolicy::Victim() const {
  Item victim = kNone;
  double victim_value = 0;
  for (const Cell& cell : ranking_) {
    if (victim != kNone && cell.value > victim_value) break;
    const Queue& queue = queues_[cell.queue];
    if (queue.empty()) continue;
    // Ages of the bin, from the oldest: it may hold none.
    const uint64_t age_end = uint64_t{2} << cell.age_bin;
    const uint64_t oldest = age_end > now_ ? 0 : now_ - age_end + 1;
    const auto found =
        records_[*queue.begin()].last_use >= oldest ? queue.begin() : queue.lower_bound(oldest);
    if (found == queue.end()) continue;
    const uint64_t last_use = records_[*found].last_use;
    if (ReuseModel::AgeBin(now_ - last_use) != cell.age_bin) continue;
    // Of cells that are worth the same, the one that waited longest.
    if (victim != kNone && records_[victim].last_use <= last_use) continue;
    victim = *found;
    victim_value = cell.value;
  }
  return victim;
}

double EvictionPolicy::Value(Item item) const {
  KVASIR_CHECK(Contains(item));
  const Record& r = records_[item];
  return model_.Value(r.use_class, ReuseModel::AgeBin(now_ - r.last_use)) /
         SizeClassBytes(r.size_class);
}

double EvictionPolicy::GainOf(uint64_t key, uint64_t bytes, double price) const {
  const auto ghost = ghosts_.Find(key, now_);
  const size_t use_class = ghost ? ReuseModel::NextUseClass(ghost->use_class) : 0;
  return model_.Gain(use_class, price * SizeClassBytes(SizeClass(bytes)));
}

EvictionPolicy::Queue& EvictionPolicy::QueueOf(const Record& r) {
  int16_t& first = first_queue_[r.size_class];
  if (first < 0) {
    first = int16_t(queues_.size());
    for (size_t c = 0; c < ReuseModel::kUseClassCount; ++c) {
      queues_.emplace_back(ByLastUse{&records_});
      queue_bytes_.push_back(SizeClassBytes(r.size_class));
    }
    Rank();
  }
  return queues_[size_t(first) + r.use_class];
}

void EvictionPolicy::Enqueue(Item item) { QueueOf(records_[item]).insert(item); }

void EvictionPolicy::Dequeue(Item item) { QueueOf(records_[item]).erase(item); }

void EvictionPolicy::Tick() {
  ++now_;
  // How long records wait is a sum over all of them at all times. One of them, in turn, stands for
  // all; so does one ghost.
  if (!records_.empty()) {
    record_cursor_ = (record_cursor_ + 1) % records_.size();
    const Record& r = records_[record_cursor_];
    if (r.is_present) {
      model_.CountWaiting(r.use_class, now_ - r.last_use, double(records_.size()));
    }
  }
  ghost_cursor_ = (ghost_cursor_ + 1) % ghosts_.slot_count();
  if (const auto ghost = ghosts_.At(ghost_cursor_, now_)) {
    model_.CountWaiting(ghost->use_class, now_ - ghost->last_use, double(ghosts_.slot_count()));
  }
  if (--ticks_to_learn_ == 0) Learn();
}

void EvictionPolicy::Learn() {
  ticks_to_learn_ = learn_interval_;
  model_.Learn();
  Rank();
}

void EvictionPolicy::Rank() {
  ranking_.clear();
  for (uint32_t queue = 0; queue < queues_.size(); ++queue) {
    for (uint32_t bin = 0; bin < ReuseModel::kAgeBinCount; ++bin) {
      const double value = model_.Value(queue % ReuseModel::kUseClassCount, bin);
      ranking_.push_back({value / queue_bytes_[queue], queue, bin});
    }
  }
  std::sort(ranking_.begin(), ranking_.end(), [](const Cell& a, const Cell& b) {
    if (a.value != b.value) return a.value < b.value;
    return a.age_bin != b.age_bin ? a.age_bin > b.age_bin : a.queue < b.queue;
  });
}

}  // namespace kvasir
