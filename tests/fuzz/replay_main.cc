// main() of the fuzz targets when they are built without libFuzzer: replays a seed corpus through
// LLVMFuzzerTestOneInput, then a few hundred mutations of every seed. The mutations are a function
// of the seed's place in the corpus and of a counter alone, so a failure comes back with the same
// bytes. An input that kills the program is left in the working directory as
// replay-crash-<program>.bin, which can be given as the argument of the next run.
//
// Usage: <fuzz target> FILE_OR_DIRECTORY...

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Present when a sanitizer is linked in.
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<uint8_t>;

constexpr int kMutationsPerSeed = 400;
constexpr double kMutationSeconds = 5;   // for the whole corpus: keeps the test suite short
constexpr double kInputSecondsMax = 10;  // refusing takes < 1 s; the rest is for sanitizers

// What the handlers below need to name and save the input that is running.
struct {
  const uint8_t* data = nullptr;
  size_t size = 0;
  char label[512] = "";
  char crash_path[256] = "";
} running;

// Async-signal-safe: write(2) and open(2) only.
void ReportRunningInput() {
  if (running.data == nullptr) return;
  const auto print = [](const char* text) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, strlen(text));
  };
  print("replay: died on ");
  print(running.label);
  const int file = open(running.crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0) {
    size_t done = 0;
    while (done < running.size) {
      const ssize_t written = write(file, running.data + done, running.size - done);
      if (written <= 0) break;
      done += size_t(written);
    }
    close(file);
    print(", saved as ");
    print(running.crash_path);
  }
  print("\n");
}

void OnFatalSignal(int signal_number) {
  ReportRunningInput();
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

void InstallHandlers(const char* program) {
  const std::string name = std::filesystem::path(program).filename().string();
  snprintf(running.crash_path, sizeof(running.crash_path), "replay-crash-%.200s.bin", name.c_str());
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(ReportRunningInput);
    return;  // the sanitizer's own signal handlers print the stack
  }
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(number, OnFatalSignal);
  }
}

// SplitMix64 (Steele et al. 2014): one multiplication chain a draw, any seed is good.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  size_t Below(size_t bound) { return bound == 0 ? 0 : size_t(Next() % bound); }

 private:
  uint64_t state_;
};

void FlipBits(Random& random, Bytes& bytes) {
  for (size_t i = 1 + random.Below(8); i > 0 && !bytes.empty(); --i) {
    bytes[random.Below(bytes.size())] ^= uint8_t(1u << random.Below(8));
  }
}

// Sizes, counts and offsets go wrong at their edges.
void WriteExtremeInteger(Random& random, Bytes& bytes) {
  static constexpr uint64_t kExtremes[] = {0,
                                           1,
                                           0x7F,
                                           0xFF,
                                           0x7FFF,
                                           0xFFFF,
                                           0x7FFFFFFF,
                                           0x80000000,
                                           0xFFFFFFFF,
                                           uint64_t{1} << 60,
                                           uint64_t{1} << 63,
                                           ~uint64_t{0}};
  const uint64_t value = kExtremes[random.Below(std::size(kExtremes))];
  const size_t width = size_t{1} << random.Below(4);
  if (bytes.size() < width) return;
  const size_t offset = random.Below(bytes.size() - width + 1);
  for (size_t i = 0; i < width; ++i) bytes[offset + i] = uint8_t(value >> (8 * i));
}

void RemoveRange(Random& random, Bytes& bytes) {
  const size_t begin = random.Below(bytes.size());
  const size_t count = std::min(bytes.size() - begin, 1 + random.Below(64));
  bytes.erase(bytes.begin() + begin, bytes.begin() + begin + count);
}

void RepeatRange(Random& random, Bytes& bytes) {
  const size_t begin = random.Below(bytes.size());
  const size_t count = std::min(bytes.size() - begin, 1 + random.Below(64));
  const Bytes range(bytes.begin() + begin, bytes.begin() + begin + count);
  bytes.insert(bytes.begin() + begin, range.begin(), range.end());
}

// The head of one seed and the tail of another.
void Splice(Random& random, const Bytes& other, Bytes& bytes) {
  bytes.resize(random.Below(bytes.size() + 1));
  bytes.insert(bytes.end(), other.begin() + random.Below(other.size() + 1), other.end());
}

Bytes Mutate(Random& random, const std::vector<Bytes>& seeds, size_t seed) {
  Bytes bytes = seeds[seed];
  for (size_t round = 1 + random.Below(3); round > 0; --round) {
    if (bytes.empty()) bytes.push_back(uint8_t(random.Next()));
    switch (random.Below(7)) {
      case 0:
      case 1:
        FlipBits(random, bytes);
        break;
      case 2:
        bytes.resize(random.Below(bytes.size()));
        break;
      case 3:
        WriteExtremeInteger(random, bytes);
        break;
      case 4:
        RemoveRange(random, bytes);
        break;
      case 5:
        RepeatRange(random, bytes);
        break;
      default:
        Splice(random, seeds[random.Below(seeds.size())], bytes);
    }
  }
  return bytes;
}

// Runs one input from a heap block of its exact size, so that a sanitizer sees a read past its end.
// False when the target took too long.
bool RunInput(std::span<const uint8_t> bytes, const std::string& label) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  snprintf(running.label, sizeof(running.label), "%s", label.c_str());
  running.size = bytes.size();
  running.data = exact.get();
  const Clock::time_point start = Clock::now();
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const bool in_time = seconds <= kInputSecondsMax;
  if (!in_time) {
    fprintf(stderr, "replay: %.1f s, more than %.0f s: ", seconds, kInputSecondsMax);
    ReportRunningInput();
  }
  running.data = nullptr;
  return in_time;
}

std::vector<std::string> ListFiles(std::span<char* const> arguments) {
  std::vector<std::string> paths;
  for (const char* argument : arguments) {
    std::error_code error;
    if (!std::filesystem::is_directory(argument, error)) {
      if (std::filesystem::is_regular_file(argument, error)) paths.push_back(argument);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argument, error)) {
      if (entry.is_regular_file()) paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> paths =
      ListFiles(std::span<char* const>(argv + 1, size_t(std::max(argc - 1, 0))));
  if (paths.empty()) {
    fprintf(stderr, "replay: no seed found; give files or directories that hold some\n");
    return 1;
  }
  InstallHandlers(argv[0]);

  std::vector<Bytes> seeds;
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!RunInput(seeds.back(), path)) return 1;
  }

  // Round by round over all seeds: when time is short, each has had its share.
  const Clock::time_point start = Clock::now();
  size_t mutation_count = 0;
  for (int round = 0; round < kMutationsPerSeed; ++round) {
    for (size_t seed = 0; seed < seeds.size(); ++seed) {
      if (std::chrono::duration<double>(Clock::now() - start).count() > kMutationSeconds) {
        round = kMutationsPerSeed;
        break;
      }
      Random random((uint64_t{seed} << 32) + uint64_t(round));
      const Bytes input = Mutate(random, seeds, seed);
      if (!RunInput(input, paths[seed] + ", mutation " + std::to_string(round))) return 1;
      ++mutation_count;
    }
  }
  printf("replayed %zu seeds and %zu mutations\n", seeds.size(), mutation_count);
  return 0;
}
