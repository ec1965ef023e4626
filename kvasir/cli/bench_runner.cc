#include "kvasir/cli/bench_runner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/topology.h"
#include "kvasir/cli/flags.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/open_kv.h"
#include "kvasir/kernels/sampling.h"
#include "kvasir/model/batch.h"

namespace kvasir {

namespace {

constexpr size_t kTestTokensMax = size_t{1} << 20;

// Any tokens do; these differ between sequences and positions, so that no row repeats another.
TokenId AnyToken(size_t sequence, size_t position, size_t vocab_size) {
  uint64_t x = sequence * 0x9E3779B97F4A7C15u + position + 1;  // splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return static_cast<TokenId>((x ^ (x >> 31)) % vocab_size);
}

Result<BenchTest> ParseBenchTest(std::string_view text) {
  const std::string_view kind = text.substr(0, 2);
  const auto count = ParseUnsigned(text.substr(std::min<size_t>(2, text.size())));
  if ((kind != "pp" && kind != "tg") || !count || *count == 0 || *count > kTestTokensMax) {
    return InvalidArgument(
        "'" + std::string(text) +
        "' is no test; write ppN for reading or tgN for writing N tokens, N from "
        "1 to " +
        std::to_string(kTestTokensMax));
  }
  return BenchTest{kind == "pp" ? BenchTest::Kind::kPrompt : BenchTest::Kind::kDecode,
                   static_cast<size_t>(*count)};
}

}  // namespace

Result<std::vector<BenchTest>> ParseBenchTests(std::string_view list) {
  std::vector<BenchTest> tests;
  for (;;) {
    const size_t comma = list.find(',');
    KVASIR_ASSIGN_OR_RETURN(const BenchTest test, ParseBenchTest(list.substr(0, comma)));
    tests.push_back(test);
    if (comma == std::string_view::npos) return tests;
    list.remove_prefix(comma + 1);
  }
}

Result<std::unique_ptr<BenchRunner>> BenchRunner::Create(Model& model,
                                                         const BenchSettings& settings,
                                                         std::span<const BenchTest> tests) {
  KVASIR_RETURN_IF_ERROR(CheckBlockSelectTokens(settings.block_select_tokens));
  size_t longest = 0;
  for (const BenchTest& test : tests) longest = std::max(longest, test.token_count);
  // One more: a decode starts from a token, also at depth 0.
  const size_t tokens = settings.depth + settings.prompt + longest + 1;
  const size_t blocks_per_sequence = (tokens + kKvBlockTokens - 1) / kKvBlockTokens;

  MemoryPlan plan;
  plan.context_tokens = tokens;
  plan.weight_bytes = model.weight_bytes();
  KVASIR_ASSIGN_OR_RETURN(
      plan.kv_layout, KvLayoutFor(model, {.kv_format = settings.kv_format,
                                          .kv_layers = settings.kv_layers,
                                          .kv_rotation = settings.kv_rotation,
                                          .kv_open_blocks = settings.kv_open_blocks,
                                          .block_select_tokens = settings.block_select_tokens}));
  plan.block_count = settings.sequence_count * blocks_per_sequence;
  plan.open_counts =
      OpenBlockCounts::For(plan.kv_layout, settings.chunk_tokens, settings.sequence_count);
  plan.open_bytes = OpenBlocks::ByteCount(plan.kv_layout, plan.open_counts);
  plan.kv_bytes = plan.block_count * plan.kv_layout.block_bytes() + plan.open_bytes;
  if (settings.block_select_tokens > 0) {
    plan.summary_bytes = BlockSummaries::ByteCount(plan.kv_layout, plan.block_count);
  }
  plan.logit_row_count = settings.sequence_count;
  plan.logit_bytes = plan.logit_row_count * model.spec().vocab_size * sizeof(float);
  plan.activation_bytes = model.ActivationBytes(settings.chunk_tokens, plan.logit_row_count);
  KVASIR_RETURN_IF_ERROR(CheckMemoryPlanFits(plan, AvailableMemoryBytes()));

  std::unique_ptr<BenchRunner> runner(new BenchRunner(model, settings));
  KVASIR_ASSIGN_OR_RETURN(runner->pool_,
                          BlockPool::Create(plan.kv_layout, plan.block_count, plan.open_counts));
  if (settings.block_select_tokens > 0) {
    KVASIR_ASSIGN_OR_RETURN(runner->summaries_,
                            BlockSummaries::Create(plan.kv_layout, plan.block_count));
  }
  KVASIR_ASSIGN_OR_RETURN(runner->logits_, AlignedBuffer::Allocate(plan.logit_bytes));
  for (size_t i = 0; i < settings.sequence_count; ++i) {
    runner->sequences_.push_back({{}, BlockTable(*runner->pool_)});
  }
  return runner;
}

Result<std::vector<double>> BenchRunner::Run(const BenchTest& test) {
  using Clock = std::chrono::steady_clock;
  const size_t before = settings_.depth + settings_.prompt;
  Rewind(0);
  KVASIR_RETURN_IF_ERROR(Read(before));
  std::vector<double> rates;
  // One repetition more than asked for: the first touches the memory and is not counted.
  for (size_t repetition = 0; repetition <= settings_.repetitions; ++repetition) {
    Rewind(before);
    const Clock::time_point start = Clock::now();
    KVASIR_RETURN_IF_ERROR(test.kind == BenchTest::Kind::kPrompt ? Read(before + test.token_count)
                                                                 : Decode(test.token_count));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const size_t tokens = test.token_count * settings_.sequence_count;
    if (repetition > 0) rates.push_back(static_cast<double>(tokens) / seconds);
  }
  std::sort(rates.begin(), rates.end());
  return rates;
}

TokenId BenchRunner::PromptToken(size_t sequence, size_t position) const {
  return AnyToken(position < settings_.shared_prefix ? 0 : sequence, position,
                  model_.spec().vocab_size);
}

Status BenchRunner::Read(size_t token_count) {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    std::vector<TokenId>& tokens = sequences_[i].tokens;
    while (tokens.size() < token_count) tokens.push_back(PromptToken(i, tokens.size()));
  }
  size_t first = 0;
  if (settings_.share_blocks && settings_.shared_prefix >= kKvBlockTokens) {
    KVASIR_RETURN_IF_ERROR(ReadSequences(0, 1, token_count));
    ShareBlocks(token_count);
    first = 1;
  }
  return ReadSequences(first, sequences_.size(), token_count);
}

Status BenchRunner::ReadSequences(size_t first, size_t end, size_t token_count) {
  std::vector<Work> work;
  size_t rows = 0;
  for (size_t i = first; i < end; ++i) {
    size_t left = token_count - sequences_[i].blocks.token_count();
    while (left > 0) {
      const size_t count = std::min(left, settings_.chunk_tokens - rows);
      left -= count;
      rows += count;
      work.push_back({i, count, left == 0});
      if (rows < settings_.chunk_tokens) continue;
      KVASIR_RETURN_IF_ERROR(Step(work));
      work.clear();
      rows = 0;
    }
  }
  return work.empty() ? OkStatus() : Step(work);
}

void BenchRunner::ShareBlocks(size_t token_count) {
  if (token_count == 0) return;
  const size_t group_tokens = kKvBlockTokens * size_t{pool_->layout().open_blocks};
  const size_t groups = std::min(settings_.shared_prefix, token_count - 1) / group_tokens;
  const size_t shared = groups * pool_->layout().open_blocks;
  const std::span<const BlockId> blocks = sequences_[0].blocks.blocks().first(shared);
  for (size_t i = 1; i < sequences_.size(); ++i) {
    BlockTable& table = sequences_[i].blocks;
    const size_t held = table.complete_block_count();
    if (held < shared) table.AppendShared(blocks.subspan(held));
  }
}

Status BenchRunner::Decode(size_t step_count) {
  std::vector<Work> work;
  for (size_t i = 0; i < sequences_.size(); ++i) work.push_back({i, 1, true});
  for (size_t step = 0; step < step_count; ++step) KVASIR_RETURN_IF_ERROR(Step(work));
  return OkStatus();
}

void BenchRunner::Rewind(size_t token_count) {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    Sequence& sequence = sequences_[i];
    sequence.blocks.Truncate(std::min(token_count, sequence.blocks.token_count()));
    // The first token of a decode is a prompt token: the same in every repetition.
    sequence.tokens.resize(sequence.blocks.token_count());
    sequence.tokens.push_back(PromptToken(i, sequence.tokens.size()));
  }
}

Status BenchRunner::Step(std::span<const Work> work) {
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions, logit_rows, kv_indices, kv_last_page_len;
  std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0};
  OwnBlocks own;
  for (const Work& item : work) {
    Sequence& sequence = sequences_[item.sequence];
    const size_t begin = sequence.blocks.token_count();
    KVASIR_RETURN_IF_ERROR(sequence.blocks.Extend(item.token_count));
    for (size_t i = 0; i < item.token_count; ++i) {
      tokens.push_back(sequence.tokens[begin + i]);
      positions.push_back(static_cast<int32_t>(begin + i));
    }
    if (item.choose_next) logit_rows.push_back(static_cast<int32_t>(tokens.size() - 1));
    const std::span<const BlockId> blocks = sequence.blocks.blocks();
    kv_indices.insert(kv_indices.end(), blocks.begin(), blocks.end());
    kv_last_page_len.push_back(static_cast<int32_t>(sequence.blocks.last_block_token_count()));
    own.Add(sequence.blocks, item.token_count);
    qo_indptr.push_back(static_cast<int32_t>(tokens.size()));
    kv_indptr.push_back(static_cast<int32_t>(kv_indices.size()));
  }
  const PagedKv kv{.layout = pool_->layout(),
                   .base = pool_->base(),
                   .page_count = pool_->block_count(),
                   .kv_indptr = kv_indptr,
                   .kv_indices = kv_indices,
                   .kv_last_page_len = kv_last_page_len,
                   .open = OpenKvOf(*pool_, own)};
  const MatrixView<float> logits(logits_.as<float>(), logit_rows.size(), model_.spec().vocab_size);
  Batch batch{tokens, positions, qo_indptr, kv, logit_rows};
  if (settings_.block_select_tokens > 0) {
    batch.block_select.options.budget_blocks =
        static_cast<int32_t>(settings_.block_select_tokens / kKvBlockTokens);
    batch.block_select.summaries = &summaries_;
    batch.block_select.page_allocations = pool_->allocation_counts();
  }
  KVASIR_RETURN_IF_ERROR(model_.Forward(batch, logits));
  size_t row = 0;
  for (const Work& item : work) {
    if (!item.choose_next) continue;
    Sequence& sequence = sequences_[item.sequence];
    sequence.tokens.resize(sequence.blocks.token_count());
    sequence.tokens.push_back(ArgMax(logits.row_span(row++)));
  }
  return OkStatus();
}

}  // namespace kvasir
