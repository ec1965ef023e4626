#include "kvasir/base/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// Starts the program with its output on `output_fd`; 0 or an errno.
int Spawn(const std::vector<std::string>& arguments, int output_fd, pid_t* pid) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, output_fd, STDERR_FILENO);
  // A signal that we ignore, such as SIGPIPE, would be ignored by the program too.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int error = posix_spawnp(pid, argv[0], &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

std::string ReadAll(int fd) {
  std::string output;
  char buffer[4096];
  while (true) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return output;
    output.append(buffer, std::min(size_t(count), kProcessOutputBytesMax - output.size()));
  }
}

}  // namespace

Result<ProcessResult> RunProcess(const std::vector<std::string>& arguments) {
  KVASIR_CHECK(!arguments.empty());
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return IoError(std::string("a pipe cannot be made: ") + std::strerror(errno));
  }
  pid_t pid = 0;
  const int error = Spawn(arguments, pipe_fds[1], &pid);
  close(pipe_fds[1]);
  if (error != 0) {
    close(pipe_fds[0]);
    const std::string message = "'" + arguments[0] + "' cannot be started: " + std::strerror(error);
    return error == ENOENT ? NotFound(message) : IoError(message);
  }
  ProcessResult result;
  result.output = ReadAll(pipe_fds[0]);
  close(pipe_fds[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return IoError("'" + arguments[0] + "' was lost: " + std::strerror(errno));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace kvasir
