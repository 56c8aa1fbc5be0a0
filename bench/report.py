"""Statistics, verdicts, and the three forms of a result: terminal, Markdown, SVG."""

import math
import statistics
from xml.sax.saxutils import escape

from twins import TWINS, twin_of

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
    if 0 < value < 0.001:
        return "<0.001"
    return f"{value:.3g}"


def ordered(results):
    """Losses first, then the closest to their limits; what is only shown comes last."""
    def key(r):
        rank = {MISS: 0, PASS: 1, SHOWN: 2}[r["verdict"]]
        limit = r["limit"] if r["base"] else 1
        return rank, -(r["ratio"] or 0) / limit if limit else 0
    return sorted(results, key=key)


# What a lane is called beside spg's figure, where its twin's name is not enough.
OTHERS = {"spg": "spg, one shard", "spg_one": "one shard", "spg_2": "2 shards", "futex": "futex",
          "uring": "raw ring", "compio_2": "Compio x 2",
          "monoio_2": "Monoio x 2", "nginx": "nginx", "pthread": "threads", "pthread_two": "threads",
          "spg_chan": "channels", "spg_chan_spin0": "channels", "spg_buffer": "a buffer each",
          "spg_plain": "one call each", "unregistered": "unregistered", "du": "coreutils du",
          "spg_spread": "spread"}


def other_name(lane):
    return OTHERS.get(lane) or TWINS[twin_of(lane)]


# What is shown of a lane beside time and CPU: field, its head, digits are the number's own.
LANE_FIELDS = (("ns_per_op", "ns/op"), ("cpu_ns_per_op", "CPU ns/op"), ("peer_cpu_ns_per_op", "peer CPU ns/op"),
               ("p50_us", "p50 us"), ("p99_us", "p99 us"), ("p999_us", "p99.9 us"),
               ("switches_per_op", "switches/op"), ("preempted_per_op", "of them involuntary"),
               ("threads", "threads"), ("rss_kib", "RSS KiB"), ("per_second", "per s"),
               ("late_p50_us", "late p50 us"), ("late_p99_us", "late p99 us"), ("bytes_each", "B each"))


def lane_medians(rounds):
    """The medians of a lane's rounds, of what it reports."""
    return {field: statistics.median([r[field] for r in rounds]) for field, _ in LANE_FIELDS
            if all(field in r for r in rounds)}


def lane_text(lane, extremes):
    if not lane:
        return "-"
    text = f"{number(lane['median'])} [{number(lane['q1'])}..{number(lane['q3'])}]"
    return text + f" {number(lane['min'])}..{number(lane['max'])}" if extremes else text


def latency_text(r):
    """p50 / p99 / p99.9 of spg (and of the other), in us."""
    def one(medians):
        fields = [medians.get(field) for field in ("p50_us", "p99_us", "p999_us")]
        return " / ".join(map(number, fields)) if any(fields) else ""
    mine, theirs = one(r["medians"]), one(r["base_medians"])
    return mine + (f" ({theirs})" if mine and theirs else "")


def switches_text(r):
    mine, theirs = r["medians"].get("switches_per_op"), r["base_medians"].get("switches_per_op")
    if mine is None:
        return ""
    return number(mine) + (f" ({number(theirs)})" if theirs is not None else "")


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
            r["verdict"] + (f" ({r['note']})" if r["note"] else ""), also_text(r["also"]),
            latency_text(r), switches_text(r)]


def head(extremes=False):
    figure = "median [quartiles]" + (" min..max" if extremes else "")
    return ["row", "unit", f"spg: {figure}", f"the other: {figure}", "ratio", "limit", "verdict",
            "spg (the other)", "p50 / p99 / p99.9 us", "context switches/op"]


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


def markdown_table(head_cells, lines):
    return ["| " + " | ".join(head_cells) + " |", "|" + "---|" * len(head_cells),
            *("| " + " | ".join(cells_) + " |" for cells_ in lines)]


def lanes_table(lanes):
    """Every program of every group; columns that a group does not have stay empty."""
    lines = []
    for one in lanes:
        lines.append([one["lane_of"], one["lane"], *(number(one["medians"][field]) if field in one["medians"] else ""
                                                      for field, _ in LANE_FIELDS), one["config"]])
    return markdown_table(["group", "program", *(head_ for _, head_ in LANE_FIELDS), "configuration"], lines)


def skipped_table(without):
    """Which twins a group does not have, and why; groups with the same reason in one line."""
    by_reason = {}
    for group, reasons in without.items():
        for twin, reason in reasons.items():
            by_reason.setdefault((twin, reason), []).append(group)
    lines = [[TWINS[twin], reason, ", ".join(groups)] for (twin, reason), groups in
             sorted(by_reason.items(), key=lambda item: (list(TWINS).index(item[0][0]), item[0][1]))]
    return markdown_table(["twin", "why not", "groups"], lines)


def markdown(results):
    columns = head(extremes=True) + ["setting"]
    missed = sum(r["verdict"] == MISS for r in results["rows"])
    passed = sum(r["verdict"] == PASS for r in results["rows"])
    lines = ["# Latest results", ""] + [line + "  " for line in head_for(results)] + [
        "", f"{len(results['rows'])} rows: {missed} MISS, {passed} PASS, the others are shown without a limit.",
        "Losses first. ratio = spg / the other, smaller is better. PASS: the upper quartile of spg lies at",
        "or below limit x the lower quartile of the other; a fixed limit holds in every round.", ""]
    lines += markdown_table(columns, [cells(r, extremes=True) + [r["setting"]] for r in ordered(results["rows"])])
    lines += ["", "## Every program", "", "Medians of the rounds. CPU is the program's own (of an echo or http group: the",
              "server's); the peer's, at the other end of a network row, stands beside it. Latencies are of single",
              "requests: a window of frames, a read, a request of 16 branches, a connection's life.", ""]
    lines += lanes_table(results["lanes"])
    lines += ["", "## Twins that are not there", ""] + [f"- {text}" for text in results["skipped"]]
    lines += [""] * bool(results["skipped"]) + skipped_table(results["without"])
    return "\n".join(lines) + "\n"


README_BEGIN, README_END = "<!-- results -->\n", "<!-- end of results -->"


def readme(text, results):
    """bench/README.md with this run's table in it: no extremes, no settings."""
    before, rest = text.split(README_BEGIN, 1)
    after = rest.split(README_END, 1)[1]
    lines = [line + "  " for line in head_for(results)] + [""]
    lines += markdown_table(["row", "unit", "spg", "the other", "ratio", "limit", "verdict"],
                            [cells(r)[:7] for r in ordered(results["rows"])])
    return before + README_BEGIN + "\n".join(lines) + "\n" + README_END + after


def time_text(us):
    return f"{us:g} us" if us < 1e3 else f"{us / 1e3:g} ms" if us < 1e6 else f"{us / 1e6:g} s"


def latency_chart(results):
    """p50, p99 and p99.9 of every program that reports them, on a logarithmic scale."""
    lanes = [one for one in results["lanes"] if one["medians"].get("p999_us")]
    if not lanes:
        return ""
    values = [one["medians"][field] for one in lanes for field in ("p50_us", "p99_us", "p999_us")]
    low, high = (math.floor(math.log10(max(min(values), 0.01))), math.ceil(math.log10(max(values))))
    left, width, top, line, gap = 250, 620, 64, 15, 10
    dots = (("p50_us", "#2a9d5c", "p50"), ("p99_us", "#d9a441", "p99"), ("p999_us", "#c8453b", "p99.9"))

    def x(value):
        return left + width * (math.log10(max(value, 10 ** low)) - low) / max(high - low, 1)

    parts, y, group = [], top, None
    for one in lanes:
        if one["lane_of"] != group:
            group = one["lane_of"]
            y += gap
            parts.append(f'<text x="8" y="{y + 11}" font-weight="bold">{escape(group)}</text>')
        medians = one["medians"]
        parts.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end"'
                     f'{" font-weight=%sbold%s" % (chr(34), chr(34)) if one["lane"].startswith("spg") else ""}>'
                     f'{escape(one["lane"])}</text>')
        parts.append(f'<line x1="{x(medians["p50_us"]):.1f}" x2="{x(medians["p999_us"]):.1f}" y1="{y + 7}" '
                     f'y2="{y + 7}" stroke="#c9ccd1"/>')
        parts += [f'<circle cx="{x(medians[field]):.1f}" cy="{y + 7}" r="4" fill="{colour}"/>'
                  for field, colour, _ in dots]
        y += line
    axis = []
    for power in range(low, high + 1):
        at = x(10 ** power)
        axis += [f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{y}" stroke="#e4e6e9"/>',
                 f'<text x="{at:.1f}" y="{top - 6}" text-anchor="middle">{time_text(10 ** power)}</text>']
    legend = [f'<circle cx="{14 + 70 * i}" cy="38" r="4" fill="{colour}"/><text x="{22 + 70 * i}" y="42">{name}</text>'
              for i, (_, colour, name) in enumerate(dots)]
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" height="{y + 14}" '
                      'font-family="sans-serif" font-size="11">',
                      '<rect width="100%" height="100%" fill="#ffffff"/>',
                      '<text x="10" y="20" font-size="14">Latency of single requests, medians of the rounds</text>',
                      *legend, *axis, *parts, "</svg>"]) + "\n"


def chart(results):
    """Bars of the ratios; a tick marks each row's limit, a line the other program (1.0)."""
    rows = [r for r in ordered(results["rows"]) if r["ratio"] is not None]
    left, top, width, bar, gap, scale_max = 540, 76, 420, 16, 8, 1.5
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
