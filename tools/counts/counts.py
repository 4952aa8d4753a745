#!/usr/bin/env python3
"""Counts the instructions of the hot functions, and compares them with those that are stored.

    tools/counts/counts.py check     fails if one has grown by more than 5 %
    tools/counts/counts.py store     stores what they are now

Runs the benchmark `hot_counts` under valgrind. Counts can only be compared where they were made
alike: with the same compiler, the same C library (whose memcpy and malloc are counted too), the
same valgrind, and a processor that lets both take the same code paths. Where one of these differs
from what `counts.tsv` says, `check` prints the figures, says that it cannot judge, and passes.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STORED = Path(__file__).resolve().parent / "counts.tsv"
# Where .ci/run installs gungraun-runner.
RUNNER_DIR = ROOT / "tools" / "compat" / ".cache" / "cargo" / "bin"
ALLOWED_PERCENT = 5
# What decides which code crc32c, memcpy and the like take on x86-64, as valgrind passes it on.
DECISIVE_FEATURES = ("sse4_2", "avx2", "bmi2")
STORE = "tools/counts/counts.py store"

HEADER = f"""\
# Instructions of the hot functions, as valgrind counts them. More than {ALLOWED_PERCENT} % above these
# fails in CI. Made by `{STORE}`, and comparable only where all of this is the same:
"""


class Stored:
    """What counts.tsv says: how the counts were made, and the counts by name."""

    def __init__(self, made_with: dict[str, str], counts: dict[str, int]) -> None:
        self.made_with = made_with
        self.counts = counts

    def to_text(self) -> str:
        made_with = "".join(f"#   {key}: {value}\n" for key, value in self.made_with.items())
        counts = "".join(f"{name}\t{count}\n" for name, count in sorted(self.counts.items()))
        return HEADER + made_with + counts

    @classmethod
    def from_text(cls, text: str) -> "Stored":
        made_with: dict[str, str] = {}
        counts: dict[str, int] = {}
        for line in text.splitlines():
            if line.startswith("#   "):
                key, _, value = line.removeprefix("#   ").partition(": ")
                made_with[key] = value
            elif line and not line.startswith("#"):
                name, count = line.split("\t")
                counts[name] = int(count)
        return cls(made_with, counts)


def counts_of(output: str) -> dict[str, int]:
    """The instructions by name, of the summaries that gungraun prints: one JSON object a line."""
    counts: dict[str, int] = {}
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        summary = json.loads(line)
        [profile] = summary["profiles"]
        # Beside the count of this run stands that of the one before it, if there was one.
        measured = profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]
        # The path is benchmark::group::function; the group says which crate it is.
        _, group, function = summary["module_path"].split("::")
        name = f"{group.removesuffix('_group')}/{function}/{summary['id']}"
        if name in counts:
            raise ValueError(f"{name} was counted twice")
        counts[name] = int(measured)
    if not counts:
        raise ValueError("the benchmark printed no counts")
    return counts


def compare(stored: Stored, made_with: dict[str, str], now: dict[str, int]) -> tuple[bool, list[str]]:
    """Whether the counts may stay as they are, and what there is to say about them."""
    lines = []
    passes = True
    differing = {
        key: (stored.made_with.get(key, "unknown"), made_with.get(key, "unknown"))
        for key in stored.made_with | made_with
        if stored.made_with.get(key) != made_with.get(key)
    }
    for name in sorted(stored.counts | now):
        if name not in now:
            passes = False
            lines.append(f"GONE    {name}: stored, but not counted any more: run {STORE}")
            continue
        if name not in stored.counts:
            passes = False
            lines.append(f"NEW     {name}: {now[name]}, and nothing stored: run {STORE}")
            continue
        before, after = stored.counts[name], now[name]
        # In whole numbers, so that nothing is rounded.
        allowed_max = before * (100 + ALLOWED_PERCENT) // 100
        shrunk_below = before * (100 - ALLOWED_PERCENT)
        change = (after - before) * 100 / before
        figures = f"{name}: stored {before}, now {after} ({change:+.2f} %), allowed {allowed_max}"
        if after > allowed_max:
            passes = passes and bool(differing)
            lines.append(f"GREW    {figures}")
        elif after * 100 < shrunk_below:
            lines.append(f"SHRANK  {figures}: store the new one with {STORE}")
        else:
            lines.append(f"ok      {figures}")
    for key, (before, after) in differing.items():
        lines.append(f"cannot judge growth: {key} is {after} here, and the stored counts are of {before}")
    return passes, lines


def first_line(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def made_with_here() -> dict[str, str]:
    """What decides the counts, apart from the code."""
    machine = platform.machine()
    flags = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
            break
    features = [feature for feature in DECISIVE_FEATURES if feature in flags]
    return {
        "compiler": first_line("rustc", "--version"),
        "valgrind": first_line("valgrind", "--version"),
        "C library": " ".join(platform.libc_ver()),
        "processor": " ".join([machine, *features]),
    }


def run_benchmark() -> dict[str, int]:
    environment = dict(os.environ)
    environment["PATH"] = f"{RUNNER_DIR}{os.pathsep}{environment['PATH']}"
    command = ["cargo", "bench", "--locked", "-p", "ringlog-counts", "--bench", "hot_counts"]
    command += ["--", "--output-format=json"]
    finished = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"the benchmark failed with status {finished.returncode}: {' '.join(command)}")
    return counts_of(finished.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("check", "store"))
    action = parser.parse_args().action
    made_with, now = made_with_here(), run_benchmark()
    if action == "store":
        STORED.write_text(Stored(made_with, now).to_text())
        print(f"stored {len(now)} counts in {STORED.relative_to(ROOT)}")
        return 0
    passes, lines = compare(Stored.from_text(STORED.read_text()), made_with, now)
    print("\n".join(lines))
    if not passes:
        print(f"what grew has to shrink again, or be worth it: then {STORE}, and say why in the commit")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
