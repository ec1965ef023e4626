// CdfChart: distributions as curves of an SVG image: how large a share of the values is at most
// this large, over a logarithmic axis, a panel for each quantity and a curve for each series. Text
// without a library; a pure function.

#ifndef KVASIR_LOADGEN_CDF_CHART_H_
#define KVASIR_LOADGEN_CDF_CHART_H_

#include <string>
#include <vector>

namespace kvasir {

struct CdfSeries {
  std::string name;
  std::vector<double> values;  // in any order
};

struct CdfPanel {
  std::string title;
  std::vector<CdfSeries> series;
};

// Well-formed XML whatever names and values hold. The axis shows four decades below the largest
// value; what is smaller, zeros too, stands at its left end.
std::string CdfChart(const std::string& title, const std::vector<CdfPanel>& panels);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_CDF_CHART_H_
