// Passkey: whether a model still finds a number that was told once, somewhere in a long text. The
// text with the number is read in full; the question and the answer are decoded token by token, as
// `reading` says: the keys that matter are far away and of no use before they are asked for, which
// is the hard case of block selection. One thread, which owns the model's pool.

#ifndef KVASIR_EVAL_PASSKEY_H_
#define KVASIR_EVAL_PASSKEY_H_

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

struct PasskeyOptions {
  size_t depth_tokens = 2048;  // of the text, the number and all
  size_t trial_count = 5;      // numbers, told at evenly spaced places of the text
  std::vector<DecodeReading> readings;
  size_t chunk_tokens = 512;
  KvFormats kv_format = KvFormat::kBF16;
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};

struct PasskeyRow {
  size_t found_count = 0;  // trials in which every token of the number was the most likely one
  double mean_nll = 0;     // of the numbers' tokens, natural logarithms
};

// A row for each reading. `text` are the tokens that the number hides in. kInvalidArgument when
// they are too few, or the depth leaves no room in the model's context.
Result<std::vector<PasskeyRow>> MeasurePasskey(Model& model, const Tokenizer& tokenizer,
                                               std::span<const TokenId> text,
                                               const PasskeyOptions& options);

}  // namespace kvasir

#endif  // KVASIR_EVAL_PASSKEY_H_
