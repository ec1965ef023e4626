// LayerFit: one layer's tensors in f32, in the order of the file, while they are fitted to the
// activations of the calibration text: channels scaled, then matrices rounded with error feedback.
// Lives for one layer; the thread that owns the pool.

#ifndef KVASIR_QUANTIZE_LAYER_FIT_H_
#define KVASIR_QUANTIZE_LAYER_FIT_H_

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/quantize/input_statistics.h"
#include "kvasir/quantize/scale_search.h"
#include "kvasir/quantize/tensor_types.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

class LayerFit {
 public:
  struct Tensor {
    const PlannedTensor* plan = nullptr;
    std::vector<float> values;     // [rows, cols]
    std::vector<std::byte> bytes;  // as the file will have them
  };
  // Errors relative to the outputs, summed over matrices.
  struct Errors {
    double plain = 0;
    double fitted = 0;
    size_t matrix_count = 0;
  };

  LayerFit(const ModelSpec& spec, std::map<TensorRole, Tensor> tensors, ThreadPool& pool)
      : spec_(spec), tensors_(std::move(tensors)), pool_(pool) {}

  // Fills the bytes of all matrices of a type that has blocks, and changes the values of the
  // vectors. `statistics` are the layer's and are scaled with the channels.
  Result<Errors> Fit(LayerStatistics statistics, bool scale_channels, bool feed_back_errors);

  const Tensor& tensor(TensorRole role) const { return tensors_.at(role); }

 private:
  // The products that read one input.
  Status FitInput(LinearInput input, InputStatistics& statistics, bool scale_channels,
                  bool feed_back_errors, Errors* errors);
  void ApplyScales(LinearInput input, std::span<const TensorRole> readers,
                   const ChannelOwners& owners, std::span<const float> scales,
                   InputStatistics* statistics);
  ChannelOwners Owners(LinearInput input) const;
  Status Encode(const std::vector<float>& factor, Tensor* tensor);
  MatrixView<const float> Matrix(const Tensor& tensor) const;

  const ModelSpec& spec_;
  std::map<TensorRole, Tensor> tensors_;
  ThreadPool& pool_;
};

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_LAYER_FIT_H_
