#!/usr/bin/env bash
# Fetches the jars of a Kafka node and of its clients, as pom.xml names them, through Maven: what
# setup.sh gives to the suite, and what `ringlog-bench compare --kafka-jars` starts its rival from.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: kafka_jars.sh [DIR]   prints the folder once all jars are in it (default: .cache/jars here)

Needs Java and Maven. Fetches nothing where the folder was filled from the same pom.xml before.
TEXT
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
esac
jars="${1:-$here/.cache/jars}"
mkdir -p "$jars"
jars="$(cd "$jars" && pwd)"
stamp="$jars/.made-from"

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(sha256sum <"$here/pom.xml")" ]; then
    echo 'fetching the Kafka jars' >&2
    # Jars of another version would be on the class path beside the new ones; those of somebody else
    # are not this script's to remove.
    if [ -f "$stamp" ]; then
        rm -f "$jars"/*.jar "$stamp"
    elif compgen -G "$jars/*.jar" >/dev/null; then
        echo "$jars holds jars that this script did not fetch" >&2
        exit 1
    fi
    nice -n 10 mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$jars" >&2
    sha256sum <"$here/pom.xml" >"$stamp"
fi
echo "$jars"
