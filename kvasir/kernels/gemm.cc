#include "kvasir/kernels/gemm.h"

#include <algorithm>
#include <array>

#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/weight_codes.h"

namespace kvasir {

namespace {

// Bytes of activations that a block of rows may take: half of a 512 KiB L2, which the unpacked
// panels share.
constexpr size_t kRowBlockBytes = 256 << 10;
// Tasks per thread. With many rows enough that a slower thread hands work to the others. With few
// rows a task is a run of panels streamed from memory: long runs are worth more than balance (two
// against eight tasks: 5 to 10 % more tokens a second on a model of 135M).
constexpr size_t kTasksPerThread = 8;
constexpr size_t kTasksPerThreadFewRows = 2;
// Products of one call: q, k, v or gate, up.
constexpr size_t kOutputsMax = 8;

GemmTileFn DirectTileFn(DType dtype) {
  switch (CodeBits(dtype)) {
    case 4:
      return DirectTileFn4(dtype);
    case 5:
      return DirectTileFn5(dtype);
    default:
      return DirectTileFn68(dtype);
  }
}

// A product cut into row blocks x runs of panel pairs.
struct Cut {
  GemmTileFn tile = nullptr;
  size_t rows_per_block = 0;
  size_t block_count = 0;
  size_t pairs_per_task = 0;
  size_t run_count = 0;  // of pairs
  size_t task_count() const { return block_count * run_count; }
};

Cut CutProduct(const GemmInput& input, const GemmOutput& output, size_t thread_count,
               size_t pair_total) {
  const PackedWeights& weights = *output.weights;
  const size_t rows = input.row_count;
  Cut cut;
  const bool is_4bit = weights.quantized() && CodeBits(weights.dtype()) == 4;
  const bool few_rows = rows <= (is_4bit ? kDirectRowsMax4Bit : kDirectRowsMax);
  const size_t row_bytes = weights.cols() * (weights.quantized() ? 1 : sizeof(float));
  if (!weights.quantized()) {
    cut.tile = PlainTileFn(weights.dtype());
  } else {
    cut.tile = few_rows ? DirectTileFn(weights.dtype()) : UnpackedTileFn();
  }
  cut.rows_per_block =
      std::max<size_t>(24, kRowBlockBytes / std::max<size_t>(1, row_bytes) / 24 * 24);
  cut.block_count = (rows + cut.rows_per_block - 1) / cut.rows_per_block;
  const size_t tasks_wanted = thread_count * (few_rows ? kTasksPerThreadFewRows : kTasksPerThread);
  cut.pairs_per_task = std::max<size_t>(1, pair_total * cut.block_count / tasks_wanted);
  const size_t pairs = weights.panel_count() / 2;
  cut.run_count = (pairs + cut.pairs_per_task - 1) / cut.pairs_per_task;
  return cut;
}

void RunTask(const GemmInput& input, const GemmOutput& output, const Cut& cut, size_t task,
             std::byte* scratch) {
  const size_t block = task / cut.run_count, run = task % cut.run_count;
  GemmTileRange range;
  range.row_begin = block * cut.rows_per_block;
  range.row_end = std::min(input.row_count, range.row_begin + cut.rows_per_block);
  const size_t pair_end =
      std::min(output.weights->panel_count() / 2, (run + 1) * cut.pairs_per_task);
  for (range.pair = run * cut.pairs_per_task; range.pair < pair_end; ++range.pair) {
    cut.tile(input, output, range, scratch);
  }
}

void CheckShapes(const GemmInput& input, const GemmOutput& output) {
  const PackedWeights& weights = *output.weights;
  const size_t out_rows = output.paired ? input.row_count / 2 : input.row_count;
  KVASIR_CHECK(output.out.rows() == out_rows && output.out.cols() == weights.rows());
  KVASIR_CHECK(!output.paired || (input.row_count % 2 == 0 && output.bias == nullptr));
  if (weights.quantized()) {
    KVASIR_CHECK(input.quantized != nullptr && input.quantized->rows() == input.row_count &&
                 input.quantized->cols() == weights.cols());
  } else {
    KVASIR_CHECK(input.plain.rows() == input.row_count && input.plain.cols() == weights.cols());
  }
}

}  // namespace

Result<GemmScratch> GemmScratch::Create(size_t cols_max, size_t thread_count) {
  GemmScratch scratch;
  // A page apart, so that workers do not share lines or TLB entries.
  scratch.worker_bytes_ = (UnpackedScratchBytes(cols_max + kGroupInputs) + 4095) / 4096 * 4096;
  KVASIR_ASSIGN_OR_RETURN(scratch.buffer_,
                          AlignedBuffer::Allocate(scratch.worker_bytes_ * thread_count));
  return scratch;
}

void Gemm(const GemmInput& input, std::span<const GemmOutput> outputs, const GemmScratch& scratch,
          ThreadPool& pool) {
  KVASIR_CHECK(outputs.size() <= kOutputsMax);
  if (input.row_count == 0) return;
  size_t pair_total = 0;
  for (const GemmOutput& output : outputs) {
    CheckShapes(input, output);
    pair_total += output.weights->panel_count() / 2;
  }
  std::array<Cut, kOutputsMax> cuts;
  std::array<size_t, kOutputsMax + 1> first_task{};
  for (size_t i = 0; i < outputs.size(); ++i) {
    cuts[i] = CutProduct(input, outputs[i], pool.thread_count(), pair_total);
    first_task[i + 1] = first_task[i] + cuts[i].task_count();
  }
  pool.ParallelFor(first_task[outputs.size()], [&](size_t task, size_t worker) {
    size_t i = 0;
    while (task >= first_task[i + 1]) ++i;
    RunTask(input, outputs[i], cuts[i], task - first_task[i], scratch.worker(worker));
  });
}

}  // namespace kvasir
