#include "kvasir/cli/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kvasir/base/mapped_file.h"

namespace kvasir {

namespace {

constexpr int kPipePatienceMs = 1000;

Result<std::string> ReadStdin() {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return IoError(std::string("cannot read standard input: ") + std::strerror(errno));
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kInputBytesMax) {
      return InvalidArgument("standard input has more than " +
                             std::to_string(kInputBytesMax >> 20) + " MiB");
    }
  }
}

// A descriptor of `path` for writing, made when it is not there.
Result<int> OpenOutput(const std::string& path, int flags) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
  if (fd < 0) return IoError("cannot write " + path + ": " + std::strerror(errno));
  return fd;
}

}  // namespace

bool Output::Write(std::string_view text) {
  while (open_ && !text.empty()) {
    const ssize_t n = write(fd_, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {  // a non-blocking pipe that is full
      pollfd ready{fd_, POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      open_ = false;
      if (errno != EPIPE) {
        status_ = IoError(std::string("cannot write to standard output: ") + std::strerror(errno));
      }
    }
  }
  return open_;
}

Status WriteOutput(const std::string& path, std::string_view text) {
  if (path == "-") {
    Output output;
    output.Write(text);
    return output.status();
  }
  KVASIR_ASSIGN_OR_RETURN(const int fd, OpenOutput(path, O_TRUNC));
  Output output(fd);
  const bool is_written = output.Write(text);
  if (close(fd) != 0 || !is_written) return IoError("cannot write all of " + path);
  return OkStatus();
}

Status CheckOutput(const std::string& path) {
  if (path == "-") return OkStatus();
  KVASIR_ASSIGN_OR_RETURN(const int fd, OpenOutput(path, 0));
  close(fd);
  return OkStatus();
}

Result<std::string> ReadInput(const std::string& path) {
  if (path == "-") return ReadStdin();
  return ReadFile(path, kInputBytesMax);
}

bool StdinIsTerminal() { return isatty(STDIN_FILENO) != 0; }
bool StderrIsTerminal() { return isatty(STDERR_FILENO) != 0; }

Result<std::optional<std::string>> ReadPipedInput() {
  struct stat info;
  if (StdinIsTerminal() || fstat(STDIN_FILENO, &info) != 0) return std::optional<std::string>();
  if (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)) {
    pollfd ready{STDIN_FILENO, POLLIN, 0};
    if (poll(&ready, 1, kPipePatienceMs) == 0) {
      std::fputs(
          "kvasir: nothing arrived on standard input within a second, going on without it "
          "(--file - waits for it)\n",
          stderr);
      return std::optional<std::string>();
    }
  }
  KVASIR_ASSIGN_OR_RETURN(std::string text, ReadStdin());
  return std::optional<std::string>(std::move(text));
}

}  // namespace kvasir
