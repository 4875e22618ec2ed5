#!/usr/bin/env bash
# The main job on one machine, with nothing configured: private RabbitMQ and Redis on free ports of
# the loopback address, the simulated providers, one worker, the sample jobs. Shows what became of
# them and ends; everything it started ends with it. KEEP=1 leaves it running until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/../.."

source deploy/local/system.sh

settled() {
    fetch /metrics | awk '/^paceline_deliveries_settled_total/ { n += $NF } END { print n + 0 }'
}

jobs=config/jobs.jsonl
ends=15
echo "publishing $jobs twice: the second time everything that was sent is a duplicate"
$bin publish "$jobs"
for _ in $(seq 300); do [ "$(settled)" -ge "$ends" ] && break; sleep 0.2; done
$bin publish "$jobs"
for _ in $(seq 300); do [ "$(settled)" -ge $((2 * ends)) ] && break; sleep 0.2; done

echo
echo "what became of them, as the worker's metrics tell:"
fetch /metrics | awk -F'[{}"]' '
    BEGIN { printf "  %-8s %-14s %-10s %-9s %6s\n", "account", "operation", "status", "reason", "number" }
    /^paceline_deliveries_settled_total/ {
        n = split($0, words, " "); printf "  %-8s %-14s %-10s %-9s %6d\n", $3, $5, $7, $9 == "" ? "-" : $9, words[n] | "sort"
    }'
if [ -n "${KEEP:-}" ]; then
    echo
    echo "still running, until Ctrl-C:"
    echo "  PUSHWOOSH_TOKEN=x MOENGAGE_PUSH_KEY=x MOENGAGE_CAMPAIGN_KEY=x PACELINE_CONFIG=$PACELINE_CONFIG \\"
    echo "  PACELINE__QUEUE__URL=$PACELINE__QUEUE__URL $bin publish $jobs"
    echo "  http://127.0.0.1:$admin_port/metrics, http://127.0.0.1:$simulator_port/_simulator/summary"
    wait "$worker"
fi
echo
echo "what arrived, as the simulated providers tell:"
kill -TERM "$simulator"
wait "$simulator" || true
sed 's/^/  /' "$folder/simulator.log"
[ "$(settled)" -eq $((2 * ends)) ] || { echo "not everything ended: see above" >&2; exit 1; }
