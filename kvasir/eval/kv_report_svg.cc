// The plot of the report.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kvasir/base/xml.h"
#include "kvasir/eval/kv_report.h"

namespace kvasir {

namespace {

// Pixels: the picture, and the margins around its plot.
constexpr double kWidth = 760, kHeight = 460;
constexpr double kLeft = 70, kRight = 20, kTop = 50, kBottom = 60;
// Colours that differ in brightness too; a fifth context starts again.
constexpr const char* kColours[] = {"#1f6fb2", "#c2410c", "#15803d", "#6b21a8"};

struct Point {
  double bits = 0;
  double kl = 0;
  std::string label;
};
struct Curve {
  size_t context_tokens = 0;
  std::vector<Point> points;  // by rising bits
};

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

std::vector<Curve> CurvesOf(std::span<const KvReportRow> rows) {
  std::vector<Curve> curves;
  for (const KvReportRow& row : rows) {
    const double kl = row.measured.quality.mean_kl;
    if (!(kl > 0) || !std::isfinite(kl)) continue;
    auto curve = std::find_if(curves.begin(), curves.end(), [&](const Curve& known) {
      return known.context_tokens == row.context_tokens;
    });
    if (curve == curves.end()) curve = curves.insert(curve, {row.context_tokens, {}});
    curve->points.push_back({row.measured.bits_per_element, kl, row.kv});
  }
  for (Curve& curve : curves) {
    std::stable_sort(curve.points.begin(), curve.points.end(),
                     [](const Point& a, const Point& b) { return a.bits < b.bits; });
  }
  return curves;
}

// The axes: which bits and which powers of ten are shown, and where.
class Axes {
 public:
  explicit Axes(const std::vector<Curve>& curves) {
    double bits_min = 4, bits_max = 9, log_min = 1e9, log_max = -1e9;
    for (const Curve& curve : curves) {
      for (const Point& point : curve.points) {
        bits_min = std::min(bits_min, std::floor(point.bits));
        bits_max = std::max(bits_max, std::ceil(point.bits));
        log_min = std::min(log_min, std::floor(std::log10(point.kl)));
        log_max = std::max(log_max, std::ceil(std::log10(point.kl)));
      }
    }
    if (log_min > log_max) log_min = -4, log_max = 0;  // no point at all
    if (log_min == log_max) log_max += 1;
    bits_min_ = bits_min, bits_max_ = bits_max, log_min_ = log_min, log_max_ = log_max;
  }
  double X(double bits) const {
    return kLeft + (bits - bits_min_) / (bits_max_ - bits_min_) * (kWidth - kLeft - kRight);
  }
  double Y(double kl) const {
    return kTop + (log_max_ - std::log10(kl)) / (log_max_ - log_min_) * (kHeight - kTop - kBottom);
  }
  std::string Draw() const {
    std::string svg;
    const double bits_step = bits_max_ - bits_min_ > 16 ? 4 : 1;
    for (double bits = bits_min_; bits <= bits_max_; bits += bits_step) {
      svg += Format("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>",
                    X(bits), X(bits), kTop, kHeight - kBottom);
      svg += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n", X(bits),
                    kHeight - kBottom + 16, bits);
    }
    for (double power = log_min_; power <= log_max_; power += 1) {
      const double y = Y(std::pow(10, power));
      svg += Format("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>",
                    kLeft, kWidth - kRight, y, y);
      svg += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">1e%g</text>\n", kLeft - 6,
                    y + 4, power);
    }
    return svg;
  }

 private:
  double bits_min_, bits_max_, log_min_, log_max_;
};

std::string DrawCurve(const Curve& curve, const Axes& axes, const char* colour) {
  std::string front, points;
  double best = 1e300;
  for (const Point& point : curve.points) {
    const double x = axes.X(point.bits), y = axes.Y(point.kl);
    if (point.kl < best) {
      front += Format("%.1f,%.1f ", x, y);
      best = point.kl;
    }
    points += Format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>", x, y, colour);
    points += Format("<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">", x + 5, y - 5, colour) +
              EscapeXml(point.label) + "</text>\n";
  }
  return "<polyline fill=\"none\" stroke=\"" + std::string(colour) + "\" points=\"" + front +
         "\"/>\n" + points;
}

}  // namespace

std::string KvReportSvg(const KvReportSource& source, std::span<const KvReportRow> rows) {
  const std::vector<Curve> curves = CurvesOf(rows);
  const Axes axes(curves);
  std::string svg = Format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
      "fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += Format("<text x=\"%g\" y=\"18\" font-size=\"13\">", kLeft) +
         EscapeXml("Mean KL from bf16 keys and values, nats: " + source.model + ", " +
                   source.text_name) +
         "</text>\n" + axes.Draw();
  svg += Format(
      "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">bits per key or value number, "
      "scales included</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - kBottom + 36);
  for (size_t i = 0; i < curves.size(); ++i) {
    const char* colour = kColours[i % std::size(kColours)];
    svg += Format("<text x=\"%g\" y=\"38\" fill=\"%s\">context %zu</text>\n",
                  kLeft + 110 * double(i), colour, curves[i].context_tokens);
    svg += DrawCurve(curves[i], axes, colour);
  }
  return svg + "</svg>\n";
}

}  // namespace kvasir
