#include "kvasir/loadgen/cdf_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>

#include "kvasir/base/xml.h"

namespace kvasir {

namespace {

// All in pixels.
constexpr int kPanelWidth = 400, kPanelHeight = 260, kMargin = 56, kHead = 64, kFoot = 44;
// At most so many points of a curve: a run has a hundred thousand gaps, an image some hundred rows.
constexpr size_t kPointsMax = 400;
// Decades below the largest value that are shown: gaps within one read are zero.
constexpr int kDecadesMax = 4;
// Told apart also by those who see no colours: blue and orange differ in lightness.
constexpr const char* kColours[] = {"#1f5fa8", "#e07b00", "#2b8a3e", "#9c36b5"};

std::string Coordinates(double x, double y) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.1f,%.1f", x, y);
  return buffer;
}

std::string Text(double x, double y, const char* anchor, const std::string& text,
                 const char* more = "") {
  char head[160];
  std::snprintf(head, sizeof(head), "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y,
                anchor, more);
  return head + EscapeXml(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, const char* colour) {
  char buffer[200];
  std::snprintf(buffer, sizeof(buffer),
                "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1,
                x2, y2, colour);
  return buffer;
}

std::string Tick(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%g", value);
  return buffer;
}

// One panel with its left upper corner at (left, kHead).
class Panel {
 public:
  Panel(const CdfPanel& panel, int left) : panel_(panel), left_(left) {
    double largest = 0, smallest = 0;
    for (const CdfSeries& series : panel.series) {
      for (const double value : series.values) {
        if (!std::isfinite(value) || value <= 0) continue;
        largest = std::max(largest, value);
        smallest = smallest == 0 ? value : std::min(smallest, value);
      }
    }
    if (largest > 0) {
      high_ = static_cast<int>(std::ceil(std::log10(largest)));
      low_ = std::max(static_cast<int>(std::floor(std::log10(smallest))), high_ - kDecadesMax);
    }
    if (low_ >= high_) low_ = high_ - 1;
  }

  std::string Draw() const {
    std::string svg = Text(left_, kHead - 10, "start", panel_.title, " font-weight=\"bold\"");
    for (int exponent = low_; exponent <= high_; ++exponent) {
      const double x = X(std::pow(10.0, exponent));
      svg += Line(x, kHead, x, kHead + kPanelHeight, "#dddddd");
      svg += Text(x, kHead + kPanelHeight + 18, "middle", Tick(std::pow(10.0, exponent)));
    }
    for (int percent = 0; percent <= 100; percent += 25) {
      const double y = Y(percent / 100.0);
      svg += Line(left_, y, left_ + kPanelWidth, y, "#dddddd");
      svg += Text(left_ - 8, y + 4, "end", std::to_string(percent) + "%");
    }
    for (size_t i = 0; i < panel_.series.size(); ++i) {
      svg += Curve(panel_.series[i], kColours[i % std::size(kColours)]);
    }
    return svg;
  }

 private:
  double X(double value) const {
    const double decades = std::log10(std::max(value, std::pow(10.0, low_))) - low_;
    return left_ + std::min(decades / (high_ - low_), 1.0) * kPanelWidth;
  }
  double Y(double share) const { return kHead + (1 - share) * kPanelHeight; }

  std::string Curve(const CdfSeries& series, const char* colour) const {
    std::vector<double> rising;
    std::copy_if(series.values.begin(), series.values.end(), std::back_inserter(rising),
                 [](double value) { return std::isfinite(value); });
    if (rising.empty()) return {};
    std::sort(rising.begin(), rising.end());
    std::string points = Coordinates(X(rising.front()), Y(0));
    const size_t count = std::min(rising.size(), kPointsMax);
    for (size_t i = 1; i <= count; ++i) {
      // The i-th of `count` points is the value that this share of all lie below.
      const size_t rank = (i * rising.size() + count - 1) / count;
      const double share = static_cast<double>(rank) / static_cast<double>(rising.size());
      points += " " + Coordinates(X(rising[rank - 1]), Y(share));
    }
    points += " " + Coordinates(left_ + kPanelWidth, Y(1));
    return "<polyline fill=\"none\" stroke=\"" + std::string(colour) +
           "\" stroke-width=\"2\" points=\"" + points + "\"/>\n";
  }

  const CdfPanel& panel_;
  const int left_;
  int low_ = 0;  // the axis goes from 10^low_ to 10^high_
  int high_ = 1;
};

// A stroke of colour and a name for each series, in the line below the title.
std::string Legend(const std::vector<CdfSeries>& series) {
  constexpr int kEntryWidth = 220, kStrokeWidth = 24, kTop = 36;
  std::string svg;
  for (size_t i = 0; i < series.size(); ++i) {
    const double x = kMargin + static_cast<double>(i) * kEntryWidth;
    svg += "<g stroke-width=\"3\">" +
           Line(x, kTop - 4, x + kStrokeWidth, kTop - 4, kColours[i % std::size(kColours)]) +
           "</g>\n";
    svg += Text(x + kStrokeWidth + 8, kTop, "start", series[i].name);
  }
  return svg;
}

}  // namespace

std::string CdfChart(const std::string& title, const std::vector<CdfPanel>& panels) {
  const int width = static_cast<int>(panels.size()) * (kPanelWidth + kMargin) + kMargin / 2;
  const int height = kHead + kPanelHeight + kFoot;
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + std::to_string(width) +
                    "\" height=\"" + std::to_string(height) + "\" viewBox=\"0 0 " +
                    std::to_string(width) + " " + std::to_string(height) +
                    "\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n"
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  svg += Text(kMargin, 18, "start", title, " font-size=\"14\"");
  if (!panels.empty()) svg += Legend(panels.front().series);
  for (size_t i = 0; i < panels.size(); ++i) {
    svg += Panel(panels[i], kMargin + static_cast<int>(i) * (kPanelWidth + kMargin)).Draw();
  }
  return svg + "</svg>\n";
}

}  // namespace kvasir
