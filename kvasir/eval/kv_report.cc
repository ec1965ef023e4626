#include "kvasir/eval/kv_report.h"

#include <cstdio>
#include <utility>

#include "kvasir/formats/kv_codec.h"

namespace kvasir {

namespace {

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

Json ToJson(const PredictionQuality& quality) {
  return {{"perplexity", quality.perplexity},
          {"mean_nll", quality.mean_nll},
          {"nll_standard_error", quality.nll_standard_error},
          {"mean_kl", quality.mean_kl},
          {"kl_standard_error", quality.kl_standard_error},
          {"p999_kl", quality.p999_kl},
          {"max_kl", quality.max_kl},
          {"top1", quality.top1},
          {"tokens", quality.token_count}};
}

Json ToJson(const KvProbeScore& probe) {
  Json json;
  // Without a score where the model cannot do it in bf16 either.
  json["score"] = probe.is_applicable ? Json(probe.tally.Score(probe.kind)) : Json(nullptr);
  json["bf16_score"] = probe.reference.Score(probe.kind);
  json["questions"] = probe.tally.question_count;
  json["found"] = probe.tally.found_count;
  json["tokens"] = probe.tally.token_count;
  json["hits"] = probe.tally.hit_count;
  json["mean_nll"] = probe.tally.mean_nll();
  return json;
}

std::string RotationName(const KvReportRow& row) {
  return row.measured.rotated ? std::string(kKvRotationName) : "none";
}

Json ToJson(const KvReportSource& source, const KvReportRow& row) {
  Json json = {{"kv", row.kv},
               {"context", row.context_tokens},
               {"bits_per_element", row.measured.bits_per_element},
               {"bytes_per_token", row.measured.bytes_per_token},
               {"rotation", RotationName(row)},
               {"open_blocks", row.measured.open_blocks}};
  json.update(ToJson(row.measured.quality));
  json["bf16_perplexity"] = row.reference.perplexity;
  json["windows"] = row.window_count;
  if (row.measured.decode) {
    json["decode"] = ToJson(*row.measured.decode);
    json["decode"]["same_as_prefill"] = row.measured.decode_same_count;
  }
  for (const KvProbeScore& probe : row.probes) {
    json["probes"][std::string(ProbeName(probe.kind))] = ToJson(probe);
  }
  json["model"] = source.model;
  json["weights"] = source.weights;
  json["activations"] = source.activations;
  json["target"] = source.target;
  json["text"] = source.text_name;
  json["text_sha256"] = source.text_sha256;
  return json;
}

// How far the perplexity is above the reference's: "+0.12 %".
std::string PerplexityChange(const KvReportRow& row) {
  return Format("%+.2f %%", 100 * (row.measured.quality.perplexity / row.reference.perplexity - 1));
}

std::string QualityTable(std::span<const KvReportRow> rows) {
  std::string table =
      "| context | KV | rotation | bits | perplexity | change | mean KL | 99.9 % KL | same top "
      "token | tokens |\n|---|---|---|---|---|---|---|---|---|---|\n";
  for (const KvReportRow& row : rows) {
    const PredictionQuality& quality = row.measured.quality;
    table += Format("| %zu | %s | %s | %.2f | %.4f | ", row.context_tokens, row.kv.c_str(),
                    RotationName(row).c_str(), row.measured.bits_per_element, quality.perplexity) +
             PerplexityChange(row) +
             Format(" | %.3g | %.3g | %.2f %% | %zu |\n", quality.mean_kl, quality.p999_kl,
                    100 * quality.top1, quality.token_count);
  }
  return table;
}

std::string DecodeTable(std::span<const KvReportRow> rows) {
  std::string table =
      "| context | KV | decoded tokens | as in pieces | perplexity | mean KL | same top token |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const KvReportRow& row : rows) {
    if (!row.measured.decode) continue;
    const PredictionQuality& quality = *row.measured.decode;
    table += Format("| %zu | %s | %zu | %zu | %.4f | %.3g | %.2f %% |\n", row.context_tokens,
                    row.kv.c_str(), quality.token_count, row.measured.decode_same_count,
                    quality.perplexity, quality.mean_kl, 100 * quality.top1);
  }
  return table;
}

std::string ProbeTable(std::span<const KvReportRow> rows) {
  std::string table =
      "| context | KV | probe | score | in bf16 | mean nll |\n|---|---|---|---|---|---|\n";
  for (const KvReportRow& row : rows) {
    for (const KvProbeScore& probe : row.probes) {
      const std::string score = probe.is_applicable
                                    ? Format("%.1f %%", 100 * probe.tally.Score(probe.kind))
                                    : std::string("n/a");
      table += Format("| %zu | %s | %s | %s | %.1f %% | %.4f |\n", row.context_tokens,
                      row.kv.c_str(), std::string(ProbeName(probe.kind)).c_str(), score.c_str(),
                      100 * probe.reference.Score(probe.kind), probe.tally.mean_nll());
    }
  }
  return table;
}

}  // namespace

Json KvReportJson(const KvReportSource& source, std::span<const KvReportRow> rows) {
  Json list = Json::array();
  for (const KvReportRow& row : rows) list.push_back(ToJson(source, row));
  return {{"rows", std::move(list)}};
}

std::string KvReportMarkdown(const KvReportSource& source, std::span<const KvReportRow> rows) {
  std::string text = "# Quality of KV formats\n\n" + source.model + ", " + source.weights +
                     " weights, " + source.activations + " activations, " + source.target +
                     "; text " + source.text_name + ", SHA-256 " + source.text_sha256 +
                     ".\nKL is the divergence from the same model with bf16 keys and values, in "
                     "nats.\n\n" +
                     QualityTable(rows);
  bool has_decode = false, has_probes = false;
  for (const KvReportRow& row : rows) {
    has_decode |= row.measured.decode.has_value();
    has_probes |= !row.probes.empty();
  }
  if (has_decode)
    text += "\nToken by token, behind the rest of each window:\n\n" + DecodeTable(rows);
  if (has_probes) {
    text += "\nProbes; n/a where bf16 is below 80 %:\n\n" + ProbeTable(rows);
  }
  return text;
}

}  // namespace kvasir
