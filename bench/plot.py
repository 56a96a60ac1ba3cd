"""Throughput and cost against the number of sessions, as one SVG without any library."""
import math
from xml.sax.saxutils import escape

from figures import cost, median, rate
from loads import Run
from peers import DIRECT

WIDTH, HEIGHT, LEFT, TOP, GAP, LEGEND, LETTER = 360, 240, 64, 40, 90, 30, 6.4
COLOURS = ("#666666", "#1f77b4", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


def step_for(most: float) -> float:
    """1, 2 or 5 times a power of ten: not more than six lines."""
    base = 10 ** math.floor(math.log10(most))
    return next(base * part for part in (0.1, 0.2, 0.5, 1) if most / (base * part) <= 6)


def text(x: float, y: float, words: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def axes(title: str, counts: list[int], most: float, left: float) -> tuple[list[str], float, float]:
    """The frame; pixels per decade of sessions, and per unit upwards."""
    low, high = math.log10(counts[0]), math.log10(counts[-1])
    across, step = WIDTH / max(high - low, 0.1), step_for(most)
    top = math.ceil(most / step) * step
    up = HEIGHT / top
    made = [text(left + WIDTH / 2, TOP - 14, title, more=' font-weight="bold"')]
    for line in range(round(top / step) + 1):
        y = TOP + HEIGHT - line * step * up
        made.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#dddddd"/>')
        made.append(text(left - 6, y + 4, f"{line * step:,.10g}", "end"))
    for count in counts:
        x = left + (math.log10(count) - low) * across
        made.append(f'<path d="M{x:.1f} {TOP + HEIGHT}v5" stroke="#333333"/>')
        made.append(text(x, TOP + HEIGHT + 19, f"{count:,}"))
    made.append(f'<path d="M{left} {TOP}v{HEIGHT}h{WIDTH}" stroke="#333333" fill="none"/>')
    made.append(text(left + WIDTH / 2, TOP + HEIGHT + 37, "sessions"))
    return made, across, up


def chart(title: str, lines: dict[str, list[tuple[int, float]]], colours: dict[str, str],
          left: float) -> list[str]:
    counts = sorted({count for line in lines.values() for count, _ in line})
    made, across, up = axes(title, counts, max(y for line in lines.values() for _, y in line), left)
    for name, line in lines.items():
        at = [(left + math.log10(count / counts[0]) * across, TOP + HEIGHT - y * up) for count, y in line]
        made.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}" fill="none" '
                    f'stroke="{colours[name]}" stroke-width="2"/>')
        made += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[name]}"/>' for x, y in at]
    return made


def sessions_svg(measured: dict[str, dict[str, list[Run]]]) -> str:
    names = list(dict.fromkeys(name for step in measured.values() for name in step))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}

    def lines(pick):
        return {name: [(int(count), median(step[name], pick)) for count, step in measured.items()
                       if name in step] for name in names}

    costs = {name: line for name, line in lines(cost).items() if name != DIRECT}
    width, height = LEFT + 2 * WIDTH + GAP + 20, TOP + HEIGHT + 50 + LEGEND
    parts = chart("messages/s", lines(rate), colours, LEFT)
    if costs:
        parts += chart("CPU ms of the proxy per message", costs, colours, LEFT + WIDTH + GAP)
    x, y = LEFT, height - 14
    for name in names:
        parts.append(f'<path d="M{x:.1f} {y - 4}h18" stroke="{colours[name]}" stroke-width="3"/>')
        parts.append(text(x + 24, y, name, "start"))
        x += 24 + LETTER * len(name) + 28
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif" font-size="12" fill="#222222">\n'
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")
