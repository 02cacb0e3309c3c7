"""Draws boards as pictures, so that they can be looked at where there is no Grafana."""

import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plot  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402
from PIL import Image  # noqa: E402

COLOURS = {"green": "#56a64b", "orange": "#ff9830", "red": "#e02f44", "blue": "#3274d9"}
UNIT_PX = 52
LEGEND_MAX = 8
POINTS = 120
COLOURS_MAX = 48


def number(value, unit, decimals=None):
    """A value for people."""
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f}%"
    if unit == "s":
        if value == 0:
            return "0"
        if value < 1:
            return f"{value * 1000:.3g} ms"
        for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
            if value >= size * 2:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} s"
    base, names = (1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]) if unit in ("bytes", "Bps") else (1000, ["", "k", "M", "G"])
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    suffix = {"Bps": "/s", "ops": "/s"}.get(unit, "")
    return f"{value:.3g} {names[step]}{suffix}".strip()


def legend(words, labels):
    for name, value in labels.items():
        words = words.replace("{{" + name + "}}", value.replace("127.0.0.1:", ":"))
    return words.replace("{{", "").replace("}}", "")


def colour(panel, value):
    chosen = "blue"
    for start, name in panel.steps or []:
        if start is None or value >= start:
            chosen = name
    return COLOURS[chosen]


def draw_stat(axes, panel, prometheus):
    result, _ = prometheus.query(panel.queries[0][0])
    values = [float(sample["value"][1]) for sample in result or []]
    values = [value for value in values if not math.isnan(value)]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(colour(panel, values[0]) if values else "#cccccc")
    text = number(values[0], panel.unit, panel.decimals) if values else "no answer"
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=17, color="white", fontweight="bold", transform=axes.transAxes)


def series(panel, prometheus, start, end):
    step = max(1, int((end - start) / POINTS))
    for expression, words in panel.queries:
        result, _ = prometheus.range(expression, start, end, step)
        for one in result or []:
            points = [(float(at) - start, float(value)) for at, value in one["values"]]
            yield legend(words, one["metric"]), points


def draw_lines(axes, panel, prometheus, start, end):
    lines = list(series(panel, prometheus, start, end))
    if panel.stacked and lines:
        times = sorted({at for _, points in lines for at, _ in points})
        known = [dict(points) for _, points in lines]
        axes.stackplot(times, [[one.get(at, 0) for at in times] for one in known], labels=[name for name, _ in lines], alpha=0.7)
    else:
        for name, points in lines:
            axes.plot([at for at, _ in points], [value for _, value in points], label=name, linewidth=1.1)
    axes.set_ylim(bottom=0)
    # Small noise must not look like a mountain, and a line at the top must be seen.
    least = 1.0 if panel.unit in ("short", "ops") else 0.0
    axes.set_ylim(top=panel.top * 1.05 if panel.top else max(axes.get_ylim()[1], least))
    axes.set_xlim(0, end - start)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, panel.unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if 0 < len(lines) <= LEGEND_MAX:
        axes.legend(fontsize=6, loc="best", ncol=2, framealpha=0.6)
    if not lines:
        axes.text(0.5, 0.5, panel.empty or "no answer", ha="center", va="center", fontsize=8, color="grey", wrap=True, transform=axes.transAxes)


def draw_bars(axes, panel, prometheus):
    expression, words = panel.queries[0]
    result, _ = prometheus.query(expression)
    bars = sorted((legend(words, one["metric"]), float(one["value"][1])) for one in result or [])
    axes.barh([name for name, _ in bars], [value for _, value in bars], color=[colour(panel, value) for _, value in bars])
    axes.set_xlim(0, panel.top)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, panel.unit)))
    axes.tick_params(labelsize=6)


def rows(board):
    """Panels with their places: (row's title or panel, x, y, width, height)."""
    y = 0
    for row in board.rows:
        yield row.title, 0, y, 24, 1
        y += 1
        x, tallest = 0, 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            yield panel, x, y, panel.width, panel.height
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    yield None, 0, y, 24, 0


def draw(prometheus, boards, folder, start, end):
    """Every board as FOLDER/UID.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for board in boards:
        places = list(rows(board))
        height = places[-1][2] + 1
        figure = plot.figure(figsize=(24 * UNIT_PX / 100, height * UNIT_PX * 0.75 / 100), dpi=100)
        figure.text(0.01, 1 - 0.5 / height, board.title, fontsize=14, fontweight="bold", va="center")
        for panel, x, y, width, tall in places[:-1]:
            top = 1 - (y + 1) / height
            if isinstance(panel, str):
                figure.text(0.01, top - 0.5 / height, panel, fontsize=11, color="#444444", va="center")
                continue
            left, right = (x + 1.15) / 24, (x + width - 0.25) / 24
            if panel.kind == "stat":
                left, right = (x + 0.2) / 24, (x + width - 0.2) / 24
            lower = top - (tall - (0.35 if panel.kind == "stat" else 0.85)) / height
            axes = figure.add_axes([left, lower, right - left, top - 1.0 / height - lower])
            axes.set_title(panel.title, fontsize=8.5, loc="left")
            if panel.kind == "stat":
                draw_stat(axes, panel, prometheus)
            elif panel.kind == "bargauge":
                draw_bars(axes, panel, prometheus)
            else:
                draw_lines(axes, panel, prometheus, start, end)
        picture = folder / f"{board.uid}.png"
        figure.savefig(picture)
        # A third of the bytes, and nothing that anybody sees.
        Image.open(picture).convert("RGB").quantize(COLOURS_MAX).save(picture, optimize=True)
        plot.close(figure)
