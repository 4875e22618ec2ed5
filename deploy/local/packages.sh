#!/bin/sh
# Installs what the tests and the local run need from Debian's packages: RabbitMQ, Redis, Python's
# client for RabbitMQ (a test runs the README's producer), Prometheus and systemd-analyze (rules, dashboard
# and unit are checked by them), Chromium (the console is tested in it), curl (incidents are rehearsed with
# it), and a C compiler for what has C in it.
# Does nothing where all of it is there.
set -eu

missing=""
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
/usr/bin/python3 -c 'import pika' >/dev/null 2>&1 || missing="$missing python3-pika"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "paceline: please install:$missing (this is no Debian, so it can't be done for you)" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "paceline: as root, please run: apt-get install --no-install-recommends$missing" >&2
        exit 1
    }
    as_root="sudo"
fi
echo "paceline: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# RUNLEVEL=1 keeps the packages from starting services of their own: every run starts private ones.
# shellcheck disable=SC2086 # a list of words
$as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
