# shellcheck shell=bash
# The whole system on one machine, for the scripts beside this one, which source it: private RabbitMQ and
# Redis on free ports of the loopback address, the simulated providers, one worker. Everything it started
# ends with the script. Gives them $bin, $folder, $admin_port, $simulator_port, $simulator, $worker, and the
# environment in which $bin finds it all.

bin=target/release/paceline
folder=$(mktemp -d "${TMPDIR:-/tmp}/paceline-run-XXXXXX")
pids=""

finish() {
    trap - EXIT INT TERM
    # Latest first: the worker drains while its servers are still there.
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    done
    [ -f "$folder/rabbitmq.pid" ] && kill -KILL "$(cat "$folder/rabbitmq.pid")" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# next_port: puts a port that nobody listens on now into $port; each call another one.
port=$((20000 + RANDOM % 10000))
next_port() {
    port=$((port + 1))
    while grep -qi ":$(printf %04X "$port") " /proc/net/tcp /proc/net/tcp6 2>/dev/null; do port=$((port + 1)); done
}

# wait_for WHAT PID LOG COMMAND...: until the command succeeds; a minute at most, and not longer
# than the process lives.
wait_for() {
    local what=$1 pid=$2 log=$3 end=$((SECONDS + 60))
    shift 3
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ] || ! kill -0 "$pid" 2>/dev/null; then
            echo "paceline: $what did not start; the end of its log:" >&2
            tail -n 20 "$log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

start_redis() {
    next_port
    redis_port=$port
    mkdir "$folder/redis"
    redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$folder/redis" --appendonly yes \
        >"$folder/redis.log" 2>&1 &
    pids="$! $pids"
    wait_for Redis $! "$folder/redis.log" redis-cli -p "$redis_port" ping
}

rabbitmq() {
    local name=$1
    shift
    env HOME="$folder" ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_NODENAME="paceline-$amqp_port@localhost" RABBITMQ_DIST_PORT="$dist_port" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$folder/rabbitmq" \
        RABBITMQ_MNESIA_BASE="$folder/mnesia" RABBITMQ_LOG_BASE="$folder/log" \
        RABBITMQ_PID_FILE="$folder/rabbitmq.pid" RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        "/usr/lib/rabbitmq/bin/$name" "$@"
}

start_rabbitmq() {
    next_port
    amqp_port=$port
    next_port
    epmd_port=$port
    next_port
    dist_port=$port
    head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/.erlang.cookie"
    chmod 600 "$folder/.erlang.cookie"
    echo "[]." >"$folder/enabled_plugins"
    printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$amqp_port" "disk_free_limit.absolute = 50MB" \
        >"$folder/rabbitmq.conf"
    epmd -address 127.0.0.1 -port "$epmd_port" >/dev/null 2>&1 &
    pids="$! $pids"
    rabbitmq rabbitmq-server >"$folder/rabbitmq.log" 2>&1 &
    pids="$! $pids"
    wait_for RabbitMQ $! "$folder/rabbitmq.log" rabbitmq rabbitmqctl -q await_startup --timeout 10
}

echo "starting RabbitMQ and Redis in $folder"
start_redis
start_rabbitmq

next_port
simulator_port=$port
next_port
admin_port=$port
export PUSHWOOSH_TOKEN=a-made-up-token MOENGAGE_PUSH_KEY=a-made-up-key MOENGAGE_CAMPAIGN_KEY=another
export PACELINE_CONFIG=config/development.toml
export PACELINE__QUEUE__URL="amqp://guest:guest@127.0.0.1:$amqp_port/%2f"
export PACELINE__STORE__URL="redis://127.0.0.1:$redis_port/0"
export PACELINE__ADMIN__LISTEN="127.0.0.1:$admin_port"
export PACELINE__ACCOUNTS__SHOP__BASE_URL="http://127.0.0.1:$simulator_port"
export PACELINE__ACCOUNTS__NEWS__BASE_URL="http://127.0.0.1:$simulator_port"

echo "starting the simulated providers and a worker"
$bin simulate --listen "127.0.0.1:$simulator_port" --latency 20ms..80ms >"$folder/simulator.log" 2>&1 &
simulator=$!
pids="$simulator $pids"
$bin worker 2>"$folder/worker.log" &
worker=$!
pids="$worker $pids"

# fetch PATH: what the worker's admin listener serves.
fetch() {
    exec 3<>"/dev/tcp/127.0.0.1/$admin_port" 2>/dev/null || return 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
    cat <&3
    exec 3>&-
}

is_ready() { fetch /readyz | head -n 1 | grep -q " 200 "; }
wait_for "the worker" "$worker" "$folder/worker.log" is_ready
