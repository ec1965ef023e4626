"""Draws the rows of bench/kv_quality/run as an SVG: mean KL (logarithmic) over bits, a panel for
each text and context, a curve for each engine through its best points, all points labelled."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 340, 260, 44, 34, 34
COLOURS = {"kvasir": "#1f6fb2", "llama.cpp": "#c2410c"}
BITS_MIN, BITS_MAX = 4, 9  # all formats but the 16-bit ones, whose divergence is rounding


def draw(rows):
    points = [row for row in rows if row["mean_kl"] > 0 and row["bits"] <= BITS_MAX]
    logs = [math.log10(row["mean_kl"]) for row in points] or [-4, 0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    high = max(high, low + 1)
    texts = list(dict.fromkeys(row["text"] for row in points))
    contexts = sorted({row["context"] for row in points})
    width, height = GAP + len(contexts) * (WIDTH + GAP), 60 + len(texts) * (HEIGHT + TOP + GAP)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="10">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{GAP}" y="20" font-size="13">Mean KL from each engine\'s own 16-bit keys and '
           'values, nats, over bits per number: ' +
           ", ".join(f'<tspan fill="{colour}">{engine}</tspan>'
                     for engine, colour in COLOURS.items()) + '</text>']
    for j, text in enumerate(texts):
        for i, context in enumerate(contexts):
            panel = [row for row in points if (row["text"], row["context"]) == (text, context)]
            svg += _panel(GAP + i * (WIDTH + GAP), 40 + j * (HEIGHT + TOP + GAP),
                          f"{text}, context {context}", panel, low, high)
    return "\n".join(svg) + "\n</svg>\n"


def _panel(left, top, title, rows, low, high):
    def x(bits):
        return left + LEFT + (bits - BITS_MIN) / (BITS_MAX - BITS_MIN) * (WIDTH - LEFT)

    def y(kl):
        return top + TOP + (high - math.log10(kl)) / (high - low) * HEIGHT

    parts = [f'<text x="{left + LEFT}" y="{top + TOP - 10}" font-size="11">{escape(title)}</text>']
    for bits in range(BITS_MIN, BITS_MAX + 1):
        parts.append(f'<line x1="{x(bits):.1f}" x2="{x(bits):.1f}" y1="{top + TOP}" '
                     f'y2="{top + TOP + HEIGHT}" stroke="#ddd"/><text x="{x(bits):.1f}" '
                     f'y="{top + TOP + HEIGHT + 14}" text-anchor="middle">{bits}</text>')
    for power in range(low, high + 1):
        at = y(10.0 ** power)
        parts.append(f'<line x1="{left + LEFT}" x2="{left + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" '
                     f'stroke="#ddd"/><text x="{left + LEFT - 5}" y="{at + 4:.1f}" '
                     f'text-anchor="end">1e{power}</text>')
    for engine, colour in COLOURS.items():
        best, front = math.inf, []
        for row in sorted((row for row in rows if row["engine"] == engine),
                          key=lambda row: (row["bits"], row["mean_kl"])):
            at = x(row["bits"]), y(row["mean_kl"])
            if row["mean_kl"] < best:
                best = row["mean_kl"]
                front.append(at)
            parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="2.5" fill="{colour}"/>'
                         f'<text x="{at[0] + 4:.1f}" y="{at[1] - 4:.1f}" fill="{colour}">'
                         f'{escape(row["kv"])}</text>')
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in front)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
    return parts
