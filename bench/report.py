"""Statistics, verdicts, and the three forms of a result: terminal, Markdown, SVG."""

import statistics
from xml.sax.saxutils import escape

PASS, MISS, SHOWN = "PASS", "MISS", "shown"


def spread(values):
    """Median, quartiles and extremes of one lane's rounds."""
    ordered = sorted(values)
    if len(ordered) > 1:
        q1, _, q3 = statistics.quantiles(ordered, n=4, method="inclusive")
    else:
        q1 = q3 = ordered[0]
    return {"median": statistics.median(ordered), "q1": q1, "q3": q3,
            "min": ordered[0], "max": ordered[-1], "values": list(values)}


def judge(row, lane, base):
    """The ratio (or value) of a row and whether it keeps its limit.

    The limit holds for the spreads, not only for the medians: the upper quartile of the
    lane must lie at or below limit x the lower quartile of its base. A fixed limit holds
    for every round.
    """
    if base is None:
        result = {"ratio": lane["median"] / row.limit if row.limit else None}
        within, certain = lane["median"], lane["max"]
        bound = bound_certain = row.limit
    else:
        result = {"ratio": lane["median"] / base["median"],
                  "ratios": [a / b for a, b in zip(lane["values"], base["values"])]}
        within, certain = lane["median"], lane["q3"]
        bound, bound_certain = (row.limit or 0) * base["median"], (row.limit or 0) * base["q1"]

    if row.limit is None:
        return result | {"verdict": SHOWN, "note": ""}
    if within > bound:
        return result | {"verdict": MISS, "note": ""}
    if certain > bound_certain:
        return result | {"verdict": MISS, "note": "spreads overlap"}
    return result | {"verdict": PASS, "note": ""}


def number(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def ordered(results):
    """Losses first, then the closest to their limits; what is only shown comes last."""
    def key(r):
        rank = {MISS: 0, PASS: 1, SHOWN: 2}[r["verdict"]]
        limit = r["limit"] if r["base"] else 1
        return rank, -(r["ratio"] or 0) / limit if limit else 0
    return sorted(results, key=key)


# What a lane is called beside spg's figure.
OTHERS = {"spg": "spg, one shard", "futex": "futex", "raw": "raw ring", "tokio": "Tokio",
          "compio": "Compio", "compio_2": "Compio x 2", "monoio": "Monoio", "monoio_2": "Monoio x 2",
          "may": "may", "nginx": "nginx", "pthread": "a thread each",
          "spg_chan": "channels", "spg_chan_spin0": "channels", "buffer": "a buffer each",
          "plain": "one call each", "du": "coreutils du",
          "spread": "spread"}


def other_name(lane):
    return "Go" if lane.startswith("go") else OTHERS[lane]


def lane_text(lane, extremes):
    if not lane:
        return "-"
    text = f"{number(lane['median'])} [{number(lane['q1'])}..{number(lane['q3'])}]"
    return text + f" {number(lane['min'])}..{number(lane['max'])}" if extremes else text


def also_text(also):
    return ", ".join(f"{label} {number(mine)}" + (f" ({number(theirs)})" if theirs is not None else "")
                     for label, mine, theirs in also)


def cells(r, extremes=False):
    """One table line: spg's figure, the other's, the ratio, its limit, the verdict."""
    ratio, limit, other = "-", "-", "-"
    if r["limit"] is not None:
        limit = f"{r['limit']:g}x" if r["base"] else number(r["limit"])
    if r["base"]:
        ratio = f"{r['ratio']:.3f}x"
        other = f"{other_name(r['base_lane'])} {lane_text(r['base'], extremes)}"
    return [r["row"], r["unit"], lane_text(r["lane"], extremes), other, ratio, limit,
            r["verdict"] + (f" ({r['note']})" if r["note"] else ""), also_text(r["also"])]


def head(extremes=False):
    figure = "median [quartiles]" + (" min..max" if extremes else "")
    return ["row", "unit", f"spg: {figure}", f"the other: {figure}", "ratio", "limit", "verdict",
            "spg (the other)"]


def head_for(results):
    """Facts that stand above a table."""
    f = results["facts"]
    return [f"{f['date']}, commit {f['commit']}, Linux {f['kernel']}, {f['cpus']} CPUs ({f['cpu_model']})",
            f"{f['go']} (GOGC {f['gogc']}), {f['cc']}; rounds {f['rounds']}, load average before the run "
            f"{f['loadavg']}"]


def table(results):
    lines = [head()] + [cells(r) for r in ordered(results["rows"])]
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines]
    return "\n".join(text)


def markdown(results):
    columns = head(extremes=True) + ["setting"]
    lines = ["# Latest results", ""] + [line + "  " for line in head_for(results)] + [
        "", "Losses first. ratio = spg / the other, smaller is better. PASS: the upper quartile of spg lies at",
        "or below limit x the lower quartile of the other; a fixed limit holds in every round.", "",
        "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for r in ordered(results["rows"]):
        lines.append("| " + " | ".join(cells(r, extremes=True) + [r["setting"]]) + " |")
    return "\n".join(lines) + "\n"


def chart(results):
    """Bars of the ratios; a tick marks each row's limit, a line the other program (1.0)."""
    rows = [r for r in ordered(results["rows"]) if r["ratio"] is not None]
    left, top, width, bar, gap, scale_max = 470, 76, 420, 16, 8, 1.5
    height = top + len(rows) * (bar + gap) + 14
    colour = {PASS: "#2a9d5c", MISS: "#c8453b", SHOWN: "#8a8f98"}

    def x(ratio):
        return left + width * min(ratio, scale_max) / scale_max

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="#ffffff"/>',
             '<text x="10" y="20" font-size="14">spg / the other; smaller is better, the black tick is the '
             'limit</text>',
             *(f'<text x="10" y="{38 + 16 * i}" font-size="11" fill="#555">{escape(text)}</text>'
               for i, text in enumerate(head_for(results)))]
    for i, r in enumerate(rows):
        y = top + i * (bar + gap)
        limit = r["limit"] if r["base"] else 1.0
        against = other_name(r["base_lane"]) if r["base"] else "its limit"
        parts += [f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(r["row"])} / {against}</text>',
                  f'<rect x="{left}" y="{y}" width="{max(x(r["ratio"]) - left, 1):.1f}" height="{bar}" '
                  f'fill="{colour[r["verdict"]]}"/>',
                  f'<text x="{left + width + 10}" y="{y + 12}">{r["ratio"]:.3f}</text>']
        if limit is not None:
            parts.append(f'<line x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{y - 2}" y2="{y + bar + 2}" '
                         'stroke="#111" stroke-width="2"/>')
    parts += [f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{top - 8}" y2="{height - 10}" stroke="#999" '
              'stroke-dasharray="3 3"/>', "</svg>"]
    return "\n".join(parts) + "\n"
