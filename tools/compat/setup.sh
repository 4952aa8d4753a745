#!/usr/bin/env bash
# Installs what the compatibility suite needs, and valgrind for `.ci/run counts`, that a fresh Debian
# with Rust, Java 17 and Python 3.11 lacks. Safe to run again: each part leaves a stamp of what it was
# made from and is skipped while that has not changed.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="$here/.cache"
mkdir -p "$cache"

# Two setups at once would install into the same folders.
exec 9>"$cache/setup.lock"
flock -w 900 9

say() { printf 'setup: %s\n' "$*"; }

install_debian_packages() {
    local missing=() package
    for package in kcat strace valgrind build-essential zlib1g-dev python3-venv; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
            || missing+=("$package")
    done
    command -v java >/dev/null || missing+=(openjdk-17-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [ ${#missing[@]} -eq 0 ] && return 0
    say "installing Debian packages: ${missing[*]}"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" >"$cache/apt.log" 2>&1 || { cat "$cache/apt.log" >&2; return 1; }
}

# up_to_date STAMP FILE...: whether STAMP holds the checksum of the files.
up_to_date() {
    local stamp="$cache/$1.stamp"
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]
}

stamp() {
    local stamp="$cache/$1.stamp"
    shift
    cat "$@" | sha256sum >"$stamp"
}

install_python_clients() {
    up_to_date venv "$here/requirements.txt" && [ -x "$cache/venv/bin/python" ] && return 0
    local python
    for python in python3.11 python3; do
        command -v "$python" >/dev/null && "$python" -m venv --help >/dev/null 2>&1 && break
    done
    say "installing the Python clients with $("$python" --version)"
    rm -rf "$cache/venv"
    "$python" -m venv "$cache/venv"
    nice -n 10 "$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
    stamp venv "$here/requirements.txt"
}

install_jars() {
    # Jars that an older setup left would be on the class path beside the new ones.
    [ -f "$cache/jars/.made-from" ] || rm -rf "$cache/jars"
    "$here/kafka_jars.sh" "$cache/jars" >/dev/null
}

compile_java_driver() {
    up_to_date classes "$here/pom.xml" "$here"/java/*.java && return 0
    say 'compiling the Java driver'
    rm -rf "$cache/classes"
    mkdir -p "$cache/classes"
    nice -n 10 javac -Xlint:all,-processing,-classfile -proc:none -d "$cache/classes" \
        -cp "$cache/jars/*" "$here"/java/*.java
    stamp classes "$here/pom.xml" "$here"/java/*.java
}

install_debian_packages
install_python_clients
install_jars
compile_java_driver
say 'done'
