// InputStatistics: what fitting weights to activations needs to know of the inputs of a layer's
// products: the sum of outer products, from which the error of any change of the weights follows,
// and the mean magnitude of each channel. Gathered on our own forward pass of the unquantised
// network. The thread that runs Forward fills them; afterwards any thread may read.

#ifndef KVASIR_QUANTIZE_INPUT_STATISTICS_H_
#define KVASIR_QUANTIZE_INPUT_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/model/model.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {

struct InputStatistics {
  size_t cols = 0;
  size_t row_count = 0;           // observed
  std::vector<float> gram;        // [cols, cols], the sum of x x^T
  std::vector<double> magnitude;  // [cols], the sum of |x|

  // Adds `rows` [any, cols]. Sums run over the rows in their order, whatever the thread count.
  // kResourceExhausted without memory. REQUIRES scratch for as many inputs as there are rows.
  Status Add(MatrixView<const float> rows, const GemmScratch& scratch, ThreadPool& pool);
};

// Of one layer, by LinearInput.
using LayerStatistics = std::vector<InputStatistics>;

// Reads calibration tokens through a network and keeps the statistics of some of its layers: all at
// once would not fit in memory for large models. One thread, which owns the pool.
class StatisticsGatherer {
 public:
  // Loads the network of `checkpoint`; both must outlive the gatherer. kInvalidArgument when the
  // tokens are too few; kResourceExhausted when the network does not fit in memory.
  static Result<std::unique_ptr<StatisticsGatherer>> Create(const Checkpoint& checkpoint,
                                                            std::vector<TokenId> tokens,
                                                            ThreadPool& pool);
  ~StatisticsGatherer();

  // How many layers' statistics fit in half of the memory that is left. kResourceExhausted when not
  // even one does.
  Result<uint32_t> LayersAtOnce() const;
  // Of layers [first, first + count), in their order. `on_progress` gets the share that is done.
  Result<std::vector<LayerStatistics>> Gather(uint32_t first, uint32_t count,
                                              const std::function<void(double)>& on_progress);
  size_t token_count() const { return tokens_.size(); }

 private:
  class Collector;
  StatisticsGatherer(std::vector<TokenId> tokens, size_t window_tokens, ThreadPool& pool);

  std::vector<TokenId> tokens_;  // whole windows
  size_t window_tokens_;
  ThreadPool& pool_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<Model> model_;
};

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_INPUT_STATISTICS_H_
