#!/usr/bin/env python3
"""Prints the tables of a comparison: what `ringlog-bench compare --json` wrote, or the same as .xz.

A cell is the median of the rounds, of a throughput with the best round in brackets; a ratio is of one round each: the
median, the lowest and the highest.

    python3 bench/results/table.py bench/results/2026-11-29-compare.json.xz
"""

import json
import lzma
import statistics
import sys

# Under this, a batch is one record and its requests are counted, not its bytes.
SMALL_BATCH_BYTES = 4096
MIB = 1 << 20
THROUGHPUTS = ("MB/s in", "MB/s out", "requests/s")


def figures(measurement):
    """Yields what a measurement says, as (row, value)."""
    produced, fetched = measurement["produced"], measurement["fetched"]
    server = measurement["server"] or {}
    is_small = measurement["batch_bytes"] < SMALL_BATCH_BYTES
    if produced and is_small:
        yield "requests/s", produced["requests_per_s"]
    elif produced:
        yield "MB/s in", produced["mb_per_s"]
    if fetched:
        yield "MB/s out", fetched["mb_per_s"]
    if fetched and not is_small:
        yield "CPU us/MB out", server.get("cpu_us_per_mb_fetched")
    elif is_small:
        yield "CPU us/request", server.get("cpu_us_per_request")
    else:
        yield "CPU us/MB in", server.get("cpu_us_per_mb_produced")
    for figure in measurement["figures"]:
        if figure["name"] == "floor CPU":
            if figure["unit"] == ("us/request" if is_small else "us/MB"):
                yield ("CPU us/request" if is_small else "CPU us/MB in"), figure["value"]
        else:
            yield f"{figure['name']}: {figure['unit']}", figure["value"]
    latencies = [part["latency"] for part in (fetched, produced) if part and part["latency"]]
    if latencies:
        # From the record's sending to its arrival, where that was measured.
        for key, row in (("p50_us", "p50 us"), ("p99_us", "p99 us"), ("p99_9_us", "p99.9 us")):
            yield row, latencies[0][key]
    if server:
        yield "memory MiB", server["resident_bytes"] / MIB


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(lines, names):
    """`lines` holds rows of {contender: {round: value}}."""
    rest = range(1, len(names))
    print("| | " + " | ".join(names), end=" | ")
    print(" | ".join(f"{names[0]} / {names[index]}" for index in rest) + " |")
    print("|---" + "|---:" * (len(names) + len(rest)) + "|")
    for row, values in lines.items():
        cells = []
        for index in range(len(names)):
            rounds = values.get(index, {}).values()
            cell = number(statistics.median(rounds)) if rounds else "-"
            if rounds and row in THROUGHPUTS:
                cell += f" ({number(max(rounds))})"
            cells.append(cell)
        for index in rest:
            ours, theirs = values.get(0, {}), values.get(index, {})
            ratios = [ours[key] / theirs[key] for key in ours if theirs.get(key)]
            if ratios:
                middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
                cells.append(f"{middle:.2f} ({low:.2f}..{high:.2f})")
            else:
                cells.append("-")
        print(f"| {row} | " + " | ".join(cells) + " |")


def main(path):
    with lzma.open(path) if path.endswith(".xz") else open(path, "rb") as file:
        report = json.load(file)
    comparison = report["comparison"]
    names = [contender["name"] for contender in comparison["contenders"]]
    titles = {}
    for run in comparison["runs"]:
        measurement = run["measurement"]
        lines = titles.setdefault((run["scenario"], measurement["name"]), {})
        for row, value in figures(measurement):
            if value is not None:
                values = lines.setdefault(row, {}).setdefault(run["contender"], {})
                values[run["round"]] = value
    for (scenario, name), lines in titles.items():
        print(f"\n### {scenario}, {name}\n")
        table(lines, names)
    for broken in comparison["broken"]:
        print(f"\n{broken}")


if __name__ == "__main__":
    main(*sys.argv[1:])
