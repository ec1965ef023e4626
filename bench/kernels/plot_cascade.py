"""Draws the rows of `attention_bench cascade --json` as an SVG: the gain over the shared prefix's
length, a panel for each group of query heads, a line for each batch, the model dashed."""

import math
import re

WIDTH, HEIGHT, LEFT, TOP = 300, 240, 46, 40
COLOURS = {2: "#7a7a7a", 16: "#1f6fb2", 64: "#c2410c"}


def draw(rows):
    points = {}
    for row in rows:
        match = re.fullmatch(r"cascade group (\d+) batch (\d+) prefix (\d+)", row["row"])
        if match:
            group, batch, prefix = map(int, match.groups())
            points.setdefault(group, {}).setdefault(batch, []).append((prefix, row))
    target = next((row["target"] for row in rows), "")
    top = max(max(row["flat_over_cascade"], row["model"]) for lines in points.values()
              for line in lines.values() for _, row in line)
    top = math.ceil(top)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(points) * (WIDTH + 20) + 20}" '
           f'height="{HEIGHT + TOP + 60}" font-family="sans-serif" font-size="11">',
           '<rect width="100%" height="100%" fill="white"/>']
    for i, (group, lines) in enumerate(sorted(points.items())):
        svg.append(_panel(i * (WIDTH + 20) + 10, group, lines, top))
    legend = "  ".join(f'<tspan fill="{COLOURS[b]}">batch {b}</tspan>' for b in COLOURS)
    svg.append(f'<text x="{LEFT}" y="{HEIGHT + TOP + 48}">{legend}  dashed: the model; dots: '
               f'medians, bars: min to max; {target}</text></svg>')
    return "\n".join(svg) + "\n"


def _panel(left, group, lines, top):
    def x(prefix):
        return left + LEFT + (math.log2(prefix) - 7) / 6 * (WIDTH - LEFT)

    def y(gain):
        return TOP + HEIGHT * (1 - gain / top)

    parts = [f'<text x="{left + LEFT}" y="{TOP - 14}">{group} query head'
             f'{"s" if group > 1 else ""} for each KV head: times faster than flat</text>']
    for gain in range(0, top + 1):
        parts.append(f'<line x1="{left + LEFT}" x2="{left + WIDTH}" y1="{y(gain)}" y2="{y(gain)}" '
                     f'stroke="{"#333" if gain == 1 else "#ddd"}"/>'
                     f'<text x="{left + LEFT - 16}" y="{y(gain) + 4}">{gain}</text>')
    for prefix in (128, 512, 2048, 8192):
        parts.append(f'<text x="{x(prefix) - 12}" y="{TOP + HEIGHT + 16}">{prefix}</text>')
    for batch, line in sorted(lines.items()):
        colour = COLOURS[batch]
        path = lambda key: " ".join(f"{x(p):.1f},{y(row[key]):.1f}" for p, row in sorted(
            line, key=lambda point: point[0]))
        parts.append(f'<polyline points="{path("model")}" fill="none" stroke="{colour}" '
                     'stroke-dasharray="4 3" stroke-opacity="0.6"/>')
        parts.append(f'<polyline points="{path("flat_over_cascade")}" fill="none" '
                     f'stroke="{colour}" stroke-width="1.5"/>')
        for prefix, row in line:
            parts.append(f'<line x1="{x(prefix):.1f}" x2="{x(prefix):.1f}" y1="{y(row["min"]):.1f}" '
                         f'y2="{y(row["max"]):.1f}" stroke="{colour}"/>'
                         f'<circle cx="{x(prefix):.1f}" cy="{y(row["flat_over_cascade"]):.1f}" '
                         f'r="2.5" fill="{colour}"/>')
    return "\n".join(parts)
