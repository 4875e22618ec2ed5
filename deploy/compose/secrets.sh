#!/bin/sh
# Makes the files with secrets that compose.yml names, each once; one that is there is left as it is. For real
# providers write their credentials into pushwoosh_token, moengage_push_key and moengage_campaign_key.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
random() { head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
# The containers' users are not this one, and must read the files: the folder keeps others away.
umask 022
# once NAME TEXT
once() { [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }

if [ ! -e secrets/amqp_url ] || [ ! -e secrets/rabbitmq_user ]; then
    password=$(random)
    printf 'default_user = paceline\ndefault_pass = %s\n' "$password" >secrets/rabbitmq_user
    printf 'amqp://paceline:%s@rabbitmq:5672/%%2f\n' "$password" >secrets/amqp_url
fi
# The simulator takes any credential.
once pushwoosh_token "$(random)"
once moengage_push_key "$(random)"
once moengage_campaign_key "$(random)"
once grafana_password "$(random)"
