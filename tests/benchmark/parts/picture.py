"""A picture of how something grows: panels side by side, as SVG. No library draws it."""

import math
from html import escape

WIDTH, HEIGHT = 300, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 34, 44


def draw(panels):
    """The SVG of `panels`: (title, [(x, y)], what is allowed as [(x, y)] or [])."""
    width = WIDTH * len(panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
             f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{HEIGHT}" fill="white"/>']
    for number, (title, points, allowed) in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(title, points, allowed)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(title, points, allowed):
    lowest, highest = points[0][0], points[-1][0]
    top = 1.15 * max(y for _, y in points + allowed)

    def place(point):
        part = math.log(point[0] / lowest) / math.log(highest / lowest)
        x = LEFT + part * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - point[1] / top * (HEIGHT - TOP - BOTTOM)

    base = HEIGHT - BOTTOM
    yield f'<text x="{LEFT}" y="20" font-weight="bold">{escape(title)}</text>'
    yield f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}" fill="none" stroke="black"/>'
    for value in _ticks(top):
        y = place((lowest, value))[1]
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
    for x_value, _ in points:
        x = place((x_value, 0))[0]
        yield f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle">{_short(x_value)}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">sources</text>'
    if allowed:
        yield _line(map(place, allowed), 'stroke="#b22" stroke-dasharray="5 4"')
    yield _line(map(place, points), 'stroke="#147" stroke-width="2"')
    for x, y in map(place, points):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#147"/>'


def _line(places, style):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{path}" fill="none" {style}/>'


def _ticks(top):
    """Round values from 0 on, four or so."""
    step = 10 ** math.floor(math.log10(top))
    while top / step < 4:
        step /= 2
    return [number * step for number in range(int(top / step) + 1)]


def _short(count):
    return f"{count // 1000}k" if count >= 1000 else str(count)
