#!/usr/bin/env bash
# Starts and stops one Kafka node (KRaft, broker and controller in one process) from the jars of
# setup.sh: the reference that the suite's own scripts are checked against, and the rival on the same
# machine in measurements.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: kafka_node.sh start --port PORT --data-dir DIR [options]   prints the pid once it answers
       kafka_node.sh run   --port PORT --data-dir DIR [options]   stays in the foreground
       kafka_node.sh stop  --data-dir DIR                         SIGTERM, then waits

options:
  --heap SIZE        heap of the JVM (default 1g)
  --cpus LIST        pin the JVM to these CPUs, as taskset takes them (default: not pinned)
  --set KEY=VALUE    a property of the node, may be repeated (flush.messages=1, num.partitions=8, ...)
TEXT
}

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
jars="$here/.cache/jars"
action="${1:-}"
[ $# -gt 0 ] && shift
port='' data='' heap=1g cpus='' properties=()
while [ $# -gt 0 ]; do
    case "$1" in
        --port) port="$2"; shift 2 ;;
        --data-dir) data="$2"; shift 2 ;;
        --heap) heap="$2"; shift 2 ;;
        --cpus) cpus="$2"; shift 2 ;;
        --set) properties+=("$2"); shift 2 ;;
        *) usage >&2; exit 2 ;;
    esac
done
[ -n "$data" ] || { usage >&2; exit 2; }
mkdir -p "$data"
data="$(cd "$data" && pwd)"

java_command() {
    local command=()
    [ -z "$cpus" ] || command+=(taskset -c "$cpus")
    command+=(java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
        -Dorg.slf4j.simpleLogger.showDateTime=true
        -cp "$jars/*")
    printf '%s\0' "${command[@]}"
}

write_properties() {
    [ -n "$port" ] || { usage >&2; exit 2; }
    local controller_port
    # The controller needs a listener of its own; a second start keeps the first one's choice.
    if [ -f "$data/controller.port" ]; then
        controller_port="$(cat "$data/controller.port")"
    else
        controller_port="$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
        echo "$controller_port" >"$data/controller.port"
    fi
    {
        cat <<TEXT
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$data/log
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
offsets.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
TEXT
        [ ${#properties[@]} -eq 0 ] || printf '%s\n' "${properties[@]}"
    } >"$data/server.properties"
    if [ ! -f "$data/log/meta.properties" ]; then
        java -Dorg.slf4j.simpleLogger.defaultLogLevel=off -Xmx256m -XX:TieredStopAtLevel=1 \
            -cp "$jars/*" kafka.tools.StorageTool format --config "$data/server.properties" \
            --cluster-id ringlogcompat000000000 >"$data/format.log" 2>&1 \
            || { cat "$data/format.log" >&2; exit 1; }
    fi
}

wait_for_port() {
    local pid="$1" deadline=$((SECONDS + 60))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || { tail -n 40 "$data/node.log" >&2; return 1; }
        [ "$SECONDS" -lt "$deadline" ] || { echo "no answer on port $port after 60 s" >&2; return 1; }
        sleep 0.2
    done
}

mapfile -d '' -t command < <(java_command)
case "$action" in
    run)
        write_properties
        exec "${command[@]}" kafka.Kafka "$data/server.properties"
        ;;
    start)
        write_properties
        setsid "${command[@]}" kafka.Kafka "$data/server.properties" \
            >"$data/node.log" 2>&1 </dev/null &
        pid=$!
        echo "$pid" >"$data/node.pid"
        wait_for_port "$pid"
        echo "$pid"
        ;;
    stop)
        [ -f "$data/node.pid" ] || { echo "no node was started in $data" >&2; exit 1; }
        pid="$(cat "$data/node.pid")"
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 150); do
            kill -0 "$pid" 2>/dev/null || { rm -f "$data/node.pid"; exit 0; }
            sleep 0.2
        done
        echo "node $pid still runs 30 s after SIGTERM" >&2
        exit 1
        ;;
    *) usage >&2; exit 2 ;;
esac
