"""Bar plots as SVG, written by hand: no dependency for eleven bars."""

from html import escape
from typing import Final

_WIDTH: Final = 640
_LABEL: Final = 190
_BAR: Final = 22
_GAP: Final = 10
_TOP: Final = 44


def bar_plot(title: str, bars: list[tuple[str, float]], mark: float | None = None) -> str:
    """Return horizontal bars with their values; `mark` draws a line at a value."""
    most = max([value for _, value in bars] + ([mark] if mark is not None else []) + [1e-9])
    scale = (_WIDTH - _LABEL - 90) / most
    height = _TOP + len(bars) * (_BAR + _GAP) + _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="26" font-size="16">{escape(title)}</text>',
    ]
    for index, (label, value) in enumerate(bars):
        y = _TOP + index * (_BAR + _GAP)
        lines += [
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LABEL}" y="{y}" width="{value * scale:.1f}" height="{_BAR}" fill="#2f6f8f"/>',
            f'<text x="{_LABEL + value * scale + 6:.1f}" y="{y + 15}">{value:g}</text>',
        ]
    if mark is not None:
        x = _LABEL + mark * scale
        line = f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height - 4}"'
        lines.append(f'{line} stroke="#b03030" stroke-dasharray="4 3"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"
