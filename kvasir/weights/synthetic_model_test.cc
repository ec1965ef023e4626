// scripts/make_synthetic_model writes files that open, with numbers of the promised size.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "kvasir/formats/gguf_quants.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

double StandardDeviation(const TensorView& tensor) {
  std::vector<float> row(tensor.cols);
  const size_t row_bytes = DTypeBytes(tensor.dtype, tensor.cols);
  double sum = 0, squares = 0;
  for (uint64_t r = 0; r < tensor.rows; ++r) {
    DequantizeRow(tensor.dtype, tensor.bytes.data() + r * row_bytes, tensor.cols, row.data());
    for (const double x : row) {
      sum += x;
      squares += x * x;
    }
  }
  const double count = static_cast<double>(tensor.rows) * static_cast<double>(tensor.cols);
  return std::sqrt(squares / count - sum / count * (sum / count));
}

TEST(SyntheticModelTest, EveryTypeOpens) {
  if (std::system("python3 -c 'import random; random.randbytes' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3 from 3.9 on is not there";
  }
  const testing::TempDir directory;
  const std::string path = (directory / "model.gguf").string();
  for (const char* type :
       {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k", "f16", "bf16", "f32"}) {
    const std::string command = "python3 " KVASIR_SOURCE_DIR
                                "/scripts/make_synthetic_model --preset qwen3-0.6b --layers 1 "
                                "--hidden 256 --ffn 512 --heads 4 --kv-heads 2 --head-dim 64 "
                                "--vocab 512 --type " +
                                std::string(type) + " --out " + path + " > /dev/null";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const auto checkpoint = OpenCheckpoint(path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    const TensorView& down = *(*checkpoint)->Find(TensorRole::kFfnDown);
    EXPECT_EQ(down.dtype, DTypeFromName(type));
    EXPECT_NEAR(StandardDeviation(down) * std::sqrt(512.0), 1.0, 0.05) << type;
    EXPECT_TRUE((*checkpoint)->tokenizer().add_bos);
  }
}

}  // namespace
}  // namespace kvasir
