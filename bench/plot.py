"""The plot.

Owns how the figures look. Must not know what must be reached. Invariant: one colour per server, the same
in every panel; the limit is a line, not a bar.
"""

from pathlib import Path
from typing import Any

from bench.measure import Results

_COLOURS = {
    "tusplyr": "#0b6e4f",
    "tusplyr-asgi": "#6bbf9c",
    "tuspyserver": "#3b6fb6",
    "@tus/server": "#c9a227",
    "tusd": "#8c6bb1",
    "rustus": "#c4613f",
}
_LIMIT = "bare"
_LIMIT_LINE: Any = {"colors": "#222222", "linestyles": "dashed", "linewidth": 1, "zorder": 3}
_FLOOR = 0.1  # where the logarithmic axes begin


def _bars(axes: Any, results: Results, figures: dict[str, str], title: str, *, log: bool = False) -> None:
    axes.set_title(title, loc="left")
    present = [figure for figure in figures if figure in results.samples]
    if not present:
        _empty(axes)
        return
    names = [name for name in _COLOURS if name in results.servers]
    width = 0.84 / len(names)
    for group, figure in enumerate(present):
        for at, name in enumerate(names):
            value = results.median(figure, name)
            place = group + (at - (len(names) - 1) / 2) * width
            if value is not None:
                _bar(axes, place, value, width, _COLOURS[name])
            else:
                axes.text(place, 0, "x", ha="center", transform=axes.get_xaxis_transform(), color=_COLOURS[name])
        if limit := results.median(figure, _LIMIT):
            axes.hlines(limit, group - 0.45, group + 0.45, **_LIMIT_LINE)
    axes.set_xticks(range(len(present)), [figures[figure] for figure in present])
    axes.set_xlim(-0.5, len(present) - 0.5)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(bottom=_FLOOR)
        axes.yaxis.set_major_formatter("{x:g}")


def _bar(axes: Any, place: float, value: float, width: float, colour: str) -> None:
    top = max(value, _FLOOR)
    axes.bar(place, top, width * 0.92, color=colour)
    label = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    behind = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    where: Any = {"ha": "center", "va": "bottom", "xytext": (0, 2), "textcoords": "offset points"}
    axes.annotate(label, (place, top), fontsize=5.8, bbox=behind, zorder=4, **where)


def _empty(axes: Any) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "not measured", ha="center", va="center", color="#888888", transform=axes.transAxes)


def _tails(axes: Any, results: Results) -> None:
    axes.set_title("Last byte to reply, ms, by length", loc="left")
    figures = results.tails()
    if not figures:
        _empty(axes)
        return
    lengths = [int(name.split()[-3]) for name in figures]
    for name, colour in _COLOURS.items():
        points = [(length, results.median(figure, name)) for length, figure in zip(lengths, figures, strict=True)]
        present = [(length, value) for length, value in points if value is not None]
        if present:
            axes.plot(*zip(*present, strict=True), color=colour, marker="o", markersize=3.5, linewidth=1.4)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(lengths, [f"{length // 1024} GiB" if length >= 1024 else f"{length} MiB" for length in lengths])


def _footnote(results: Results) -> str:
    facts = "; ".join(results.facts[name] for name in ("command", "disk", "machine", "date"))
    forgetful = [name for name in _COLOURS if results.median("takeover kept KB", name) == 0]
    lost = f"; taken over with nothing kept: {', '.join(forgetful)}" if forgetful else ""
    return f"{facts}. x: could not{lost}"


def write(results: Results, path: Path) -> None:
    """Draw all panels into a PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only --write-docs needs
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    mpl.use("Agg")
    style: Any = {"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    with plt.rc_context(style):
        figure, panels = plt.subplots(2, 3, figsize=(13, 7), dpi=150)
        way = {"one PATCH {}": "one PATCH", "8 MiB PATCHes {}": "8 MiB PATCHes"}
        unit = "MiB/s"
        _bars(panels[0][0], results, {k.format(unit): v for k, v in way.items()}, "Throughput, MiB/s (more is better)")
        unit = "CPU s/GiB"
        _bars(panels[0][1], results, {k.format(unit): v for k, v in way.items()}, "Server CPU, s/GiB (less is better)")
        small = {"small, 1 conn /s": "1 connection", "small, 32 conn /s": "32 connections"}
        _bars(panels[0][2], results, small, "Create + 64 KiB, uploads/s (more is better)")
        peaks = {
            "RSS idle MiB": "idle",
            "RSS one, 64 KiB writes MiB": "+ one PATCH",
            "RSS 100 active MiB": "+ 100 active",
            "RSS 100 stalled MiB": "+ 100 stalled",
        }
        _bars(panels[1][0], results, peaks, "Memory, MiB (idle, then above idle)", log=True)
        _tails(panels[1][1], results)
        waits = {"HEAD p50 ms": "HEAD p50", "HEAD p99 ms": "HEAD p99", "takeover ms": "takeover"}
        _bars(panels[1][2], results, waits, "Waiting, ms (HEAD during ingest; takeover)", log=True)
        shown = [name for name in _COLOURS if name in results.servers]
        keys: list[Any] = [Patch(color=_COLOURS[name], label=name) for name in shown]
        keys.append(Line2D([], [], color="#222222", linestyle="dashed", linewidth=1, label="bare loop: the limit"))
        figure.legend(handles=keys, loc="upper center", ncols=len(keys), frameon=False, fontsize=9.5)
        figure.text(0.01, 0.01, _footnote(results), fontsize=7, color="#555555")
        figure.tight_layout(rect=(0, 0.025, 1, 0.955))
        figure.savefig(path)
        plt.close(figure)
