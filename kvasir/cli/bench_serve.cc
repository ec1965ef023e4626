// kvasir bench serve: load on any server of OpenAI's API, one or two of them in turns, and how long
// it let its clients wait.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/cli/bench_serve_options.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/interrupt.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/loadgen/report.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "All requests are streams. TTFT is the time from when a request is due to its first text, ITL "
    "each\n"
    "gap between pieces of text, E2E the time to the end; docs/bench_serve.md defines them. Every "
    "round\n"
    "has texts that no round before had, so that caches help only where the workload lets them.\n"
    "\n"
    "Examples:\n"
    "  kvasir bench serve --requests 16 --input 256 --output 64\n"
    "  kvasir bench serve --concurrency 8 --requests 100 --slo-ttft-ms 500 --slo-itl-ms 50\n"
    "  kvasir bench serve --rate 2 --requests 60 --json figures.json --svg figures.svg\n"
    "  kvasir bench serve --shared-prefix 2048 --input 64\n"
    "  kvasir bench serve --users 8 --turns 6\n"
    "  zcat trace.jsonl.gz | kvasir bench serve --trace - --trace-speed 10 --trace-scale 0.05\n"
    "  kvasir bench serve --url http://127.0.0.1:8080 --compare http://127.0.0.1:8081 --rounds 5";

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// A file that is opened before the first request, so that a wrong name does not cost a whole run.
class ReportFile {
 public:
  Status Open(const std::string& path) {
    path_ = path;
    file_.reset(std::fopen(path.c_str(), "w"));
    return file_ == nullptr ? Failure() : OkStatus();
  }

  // Nothing when it was not opened.
  Status Write(const std::string& text) {
    if (file_ == nullptr) return OkStatus();
    const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
    return written && std::fflush(file_.get()) == 0 ? OkStatus() : Failure();
  }

 private:
  Status Failure() const { return IoError("cannot write " + path_ + ": " + std::strerror(errno)); }

  std::string path_;
  std::unique_ptr<std::FILE, FileCloser> file_;
};

class BenchServe {
 public:
  using Clock = LoadClient::Clock;

  explicit BenchServe(BenchServeOptions options) : options_(std::move(options)) {
    options_.limits.deadline = Clock::now() + std::chrono::seconds(options_.time_limit_s);
  }

  Status Run() {
    const bool to_stdout = options_.json_path == "-";
    if (!to_stdout && !options_.json_path.empty()) {
      KVASIR_RETURN_IF_ERROR(json_file_.Open(options_.json_path));
    }
    if (!options_.svg_path.empty()) KVASIR_RETURN_IF_ERROR(svg_file_.Open(options_.svg_path));
    KVASIR_RETURN_IF_ERROR(Connect());
    KVASIR_RETURN_IF_ERROR(MakePrompts());
    KVASIR_RETURN_IF_ERROR(WarmUp());
    for (size_t round = 0; round < options_.round_count && !stopped_; ++round) RunRound(round);

    const LoadReport report = MakeReport();
    KVASIR_RETURN_IF_ERROR(json_file_.Write(DumpJson(ReportJson(report), 1) + "\n"));
    KVASIR_RETURN_IF_ERROR(svg_file_.Write(ReportSvg(report)));
    if (to_stdout) {
      KVASIR_RETURN_IF_ERROR(PrintJson(ReportJson(report)));
    } else {
      Output output;
      output.Write(ReportTable(report));
      KVASIR_RETURN_IF_ERROR(output.status());
    }
    return Verdict(report);
  }

 private:
  Status Connect() {
    for (const LoadTarget& target : options_.targets) {
      KVASIR_ASSIGN_OR_RETURN(auto client,
                              LoadClient::Create(target, options_.limits, interrupt_.fd()));
      KVASIR_RETURN_IF_ERROR(client->FindModel());
      clients_.push_back(std::move(client));
    }
    return OkStatus();
  }

  Status MakePrompts() {
    OpenedModel opened;
    TokenCounter counter;
    if (!options_.tokenizer_path.empty()) {
      ModelOptions file;
      file.model_path = options_.tokenizer_path;
      KVASIR_ASSIGN_OR_RETURN(opened, OpenModel(file));
      counter = [&opened](std::string_view text) -> Result<size_t> {
        return opened.tokenizer->Encode(text, {.add_special = false, .parse_special = false})
            .size();
      };
    }
    for (const auto& client : clients_) {
      if (counter == nullptr) counter = client->MakeTokenCounter();
    }
    if (interrupt_.pressed()) return Cancelled("");
    if (counter == nullptr) {
      std::fprintf(stderr,
                   "kvasir: no server has /tokenize, so that a word is taken for a token; "
                   "--tokenizer names a model file that knows better\n");
    }
    KVASIR_ASSIGN_OR_RETURN(PromptMaker prompts, PromptMaker::Create(counter));
    prompts_ = std::move(prompts);
    return OkStatus();
  }

  Status WarmUp() {
    // A prefix that shall be warm has to be read in any case.
    const size_t least = options_.workload.warm_prefix ? 1 : 0;
    for (size_t i = 0; i < std::max(options_.warmup_count, least); ++i) {
      for (const auto& client : clients_) {
        KVASIR_RETURN_IF_ERROR(client->WarmUp(MakeWarmup(options_.workload, *prompts_, i)));
      }
    }
    results_.resize(clients_.size());
    return OkStatus();
  }

  // Both servers get the same texts, and take turns at going first.
  void RunRound(size_t round) {
    const Workload workload = MakeWorkload(options_.workload, *prompts_, round);
    for (size_t i = 0; i < clients_.size() && !stopped_; ++i) {
      const size_t index = round % 2 == 0 ? i : clients_.size() - 1 - i;
      ProgressBar progress(clients_[index]->target().name, StderrIsTerminal());
      const double request_count = static_cast<double>(workload.request_count());
      LoadResult result = clients_[index]->Run(workload, [&](size_t ended) {
        progress.Update(static_cast<double>(ended) / request_count);
      });
      progress.Finish();
      stopped_ = result.stopped;
      const LoadFigures figures = ComputeFigures({&result, 1}, options_.goals);
      std::fprintf(stderr, "kvasir: round %zu, %s: %zu of %zu answered in %.1f s\n", round + 1,
                   clients_[index]->target().name.c_str(), figures.answered_count,
                   workload.request_count(), figures.duration_s);
      results_[index].push_back(std::move(result));
    }
  }

  LoadReport MakeReport() const {
    LoadReport report;
    report.workload = options_.workload;
    report.exact_lengths = prompts_->exact();
    report.goals = options_.goals;
    report.stopped = stopped_;
    for (size_t i = 0; i < clients_.size(); ++i) {
      const LoadTarget& target = clients_[i]->target();
      report.endpoint = ApiPath(target.style.endpoint);
      ServerReport server = {target.name, target.url.Text(), target.style.model, {}, {}};
      for (const LoadResult& result : results_[i]) {
        if (!result.stopped) server.rounds.push_back(ComputeFigures({&result, 1}, options_.goals));
      }
      server.all = ComputeFigures(results_[i], options_.goals);
      report.servers.push_back(std::move(server));
    }
    return report;
  }

  Status Verdict(const LoadReport& report) const {
    if (interrupt_.pressed()) return Cancelled("");
    if (stopped_) {
      return Status(StatusCode::kDeadlineExceeded, "the time limit of " +
                                                       std::to_string(options_.time_limit_s) +
                                                       " s came before the last round's end");
    }
    for (const ServerReport& server : report.servers) {
      if (server.all.answered_count == 0) {
        return IoError("no request to " + server.name + " was answered; the first failed with " +
                       server.all.first_error);
      }
    }
    return OkStatus();
  }

  BenchServeOptions options_;
  InterruptScope interrupt_;  // before the clients, which watch its descriptor
  ReportFile json_file_, svg_file_;
  std::vector<std::unique_ptr<LoadClient>> clients_;
  std::optional<PromptMaker> prompts_;
  std::vector<std::vector<LoadResult>> results_;  // of each client, round by round
  bool stopped_ = false;
};

}  // namespace

CommandFunction AddBenchServeCommand(CLI::App& bench, bool* chosen) {
  auto flags = std::make_shared<BenchServeFlags>();
  CLI::App& app = AddCommand(bench, "serve", "Load on a server of OpenAI's API", kFooter);
  AddBenchServeFlags(app, flags.get());
  NoteChosen(app, chosen);
  return [flags]() -> Status {
    const auto environment = [](const char* name) -> const char* { return std::getenv(name); };
    KVASIR_ASSIGN_OR_RETURN(BenchServeOptions options, ReadBenchServeFlags(*flags, environment));
    return BenchServe(std::move(options)).Run();
  };
}

}  // namespace kvasir
