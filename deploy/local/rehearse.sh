#!/usr/bin/env bash
# Rehearses three incidents against the whole system on one machine, and tells after how many seconds
# `paceline status` and the console say what is wrong and what to do: `make rehearse`. Everything it started
# ends with it. KEEP=1 leaves it running until Ctrl-C, to look around by hand.
set -euo pipefail
cd "$(dirname "$0")/../.."

# As in production, not as on a desk.
export PACELINE__LOG__LEVEL=info
PACELINE_CONSOLE_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export PACELINE__ADMIN__CONSOLE=$PACELINE_CONSOLE_TOKEN
source deploy/local/system.sh

console() {
    curl --silent --max-time 15 -H "Authorization: Bearer $PACELINE_CONSOLE_TOKEN" \
        "http://127.0.0.1:$admin_port/console/api/$1" "${@:2}"
}

faults() {
    curl --silent --output "$folder/answer" -X PUT "http://127.0.0.1:$simulator_port/_simulator/faults" \
        -d "{\"faults\": [$1], \"latency\": \"20ms..80ms\"}"
}

# sound_jobs ID: an exempt one and a counted one of the account shop.
sound_jobs() {
    printf '{"transactionId":"exempt-%s","account":"shop","operation":"createMessage","payload":{"notifications":[{"send_date":"now","content":"c","devices":["d-%s"]}]}}\n' "$1" "$1"
    printf '{"transactionId":"counted-%s","account":"shop","operation":"createMessage","payload":{"notifications":[{"send_date":"now","content":"c","users":["u-%s"]}]}}\n' "$1" "$1"
}

# A little work all the time, as in the real world: jobs come every second.
feed() {
    local n=0
    while :; do
        n=$((n + 1))
        for part in 1 2 3 4 5; do sound_jobs "$n-$part"; done | $bin publish - >/dev/null 2>&1 || true
        sleep 0.7
    done
}

now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f s", to - from }'; }

# seen WHAT FROM PATTERN COMMAND...: waits until what a command prints has all of the pattern in one line.
seen() {
    local what=$1 from=$2 pattern=$3 end=$((SECONDS + 180))
    shift 3
    until "$@" 2>/dev/null >"$folder/seen" && grep -qE "$pattern" "$folder/seen"; do
        if [ $SECONDS -ge $end ]; then
            echo "  $what did not tell /$pattern/ within 3 minutes; it tells:" >&2
            cat "$folder/seen" >&2
            exit 1
        fi
        sleep 0.2
    done
    echo "  $what: after $(since "$from")"
}

goes_on() {
    $bin status >"$folder/status" && ! grep -q "shop is paused" "$folder/status" && echo "goes on"
}

tell() { sed "s/^/    $1/" <<<"${*:2}"; }

feed &
pids="$! $pids"
seen "work is under way" "$(now)" 'shop +600/min +[1-9]' $bin status

# incident WHAT FAULT CAUSE REMEDY: lets everything of shop fail, waits until it is told why and what to do,
# mends it, and waits until the account goes on. CAUSE and what is to be read behind it as a pattern.
incident() {
    echo
    echo "$1"
    faults "\"pushwoosh:$2@100%\""
    local began mended
    began=$(now)
    seen "status tells cause and remedy" "$began" "shop is paused \\($3" $bin status
    tell "$ " paceline status
    tell "" "$(cat "$folder/seen")"
    seen "the console tells cause and remedy" "$began" "\"health\":\"paused\".*paused \\($3" console overview
    echo "  remedy: $4"
    faults ''
    mended=$(now)
    seen "the account goes on" "$mended" 'goes on' goes_on
}

incident "1. a credential is revoked: the provider answers 401 to everything of shop" 401 \
    'credentials\).*Mend them' "the credential works again"
incident "2. an outage: the provider answers 503 to everything of shop" 503 \
    'circuit\).*goes on by itself' "none of ours; the provider is back"

echo
echo "3. a flood: a producer publishes 5,000 jobs that are invalid"
for n in $(seq 5000); do
    printf '{"transactionId":"flood-%s","account":"shop","operation":"createMessage","payload":{"notifications":[{"send_date":"tomorrow","content":"c","devices":["d"]}]}}\n' "$n"
done >"$folder/flood.jsonl"
$bin publish --no-check "$folder/flood.jsonl" >/dev/null 2>&1 &
pids="$! $pids"
began=$(now)
seen "status tells of dead letters" "$began" 'dead letters [1-9].*' $bin status
seen "status tells where to look" "$began" 'paceline dead list' $bin status
tell "$ " paceline status
tell "" "$(cat "$folder/seen")"
seen "dead list tells the cause" "$began" 'send_date' $bin dead list --limit 3
tell "$ " paceline dead list --limit 3
tell "" "$(cat "$folder/seen")"
seen "the console tells the cause" "$began" 'send_date' console dead -H 'content-type: application/json' -d '{"what": "list", "limit": 3}'
echo "  remedy: the producer is mended; what it published goes"
seen "all of them have ended" "$began" 'dead letters 5,000' $bin status
$bin dead drop --all --reason invalid --yes --file "$folder/dropped.jsonl" 2>&1 | tail -n 1 | sed 's/^/    /'
seen "status tells of none" "$began" 'dead letters 0' $bin status
if [ -n "${KEEP:-}" ]; then
    echo
    echo "still running, until Ctrl-C: http://127.0.0.1:$admin_port/console, token $PACELINE_CONSOLE_TOKEN"
    wait "$worker"
fi
