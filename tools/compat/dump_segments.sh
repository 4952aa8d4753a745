#!/usr/bin/env bash
# Reads every sealed segment under a data directory with Kafka's own DumpLogSegments --deep-iteration
# (the .log with every record of every batch, the .index and the .timeindex) and fails on any
# complaint. A segment is sealed when a later one stands in the same partition folder.
# Give --all to include the last segment of each partition, after a clean stop.
set -euo pipefail

usage() { echo 'usage: dump_segments.sh [--all] DATA_DIR' >&2; exit 2; }

all=false
[ "${1:-}" != --all ] || { all=true; shift; }
[ $# -eq 1 ] && [ -d "$1" ] || usage
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="$1"
report="$(mktemp)"
list="$(mktemp)"
trap 'rm -f "$report" "$list"' EXIT

# Segment names are 20 digits, so that sorting by name within a folder sorts by offset.
while IFS= read -r folder; do
    mapfile -t logs < <(find "$folder" -maxdepth 1 -name '[0-9]*.log' -size +0 | sort)
    sealed=${#logs[@]}
    $all || sealed=$((sealed - 1))
    for ((i = 0; i < sealed; i++)); do
        for kind in log index timeindex; do
            file="${logs[$i]%.log}.$kind"
            [ -s "$file" ] && echo "$file" >>"$list"
        done
    done
done < <(find "$data" -type f -name '[0-9]*.log' -printf '%h\n' | sort -u)

count="$(wc -l <"$list")"
if [ "$count" -eq 0 ]; then
    echo "no sealed segment under $data: nothing to check" >&2
    exit 1
fi

# One JVM reads them all; the tool takes a list with commas.
status=0
timeout 600 java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$here/.cache/jars/*" \
    org.apache.kafka.tools.DumpLogSegments --deep-iteration --files "$(paste -sd, "$list")" \
    >"$report" 2>&1 || status=$?

# The tool takes any first offset but 0 for a jump from -1, in Kafka's own segments too: the heading and
# that one line are no complaint, any other jump is.
complaints="$(grep -n -i -E \
    'mismatch|invalid|is followed by|non-zero|corrupt|exception|error:|isvalid: false|not found|out of order|zero index' \
    "$report" | grep -v -i -E 'isvalid: true|^[0-9]+: *-1 is followed by' || true)"
batches="$(grep -c '^baseOffset:' "$report" || true)"
records="$(grep -c '^| offset:' "$report" || true)"
if [ "$status" -ne 0 ] || [ -n "$complaints" ]; then
    printf '%s\n' "${complaints:-exit status $status}" | head -n 40
    tail -n 5 "$report"
    echo "DumpLogSegments complained: $count files, $batches batches, $records records"
    exit 1
fi
echo "DumpLogSegments read $count files without a complaint: $batches batches, $records records"
