#!/bin/sh
# Prints rules.yml as a PrometheusRule for the Prometheus operator. `make rules` writes it to where kustomize
# takes it from; a test holds both together.
set -eu
cd "$(dirname "$0")"
cat <<'HEAD'
# Made of deploy/prometheus/rules.yml by `make rules`: change it there. If the operator's ruleSelector asks for
# labels, an overlay has to add them.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: paceline
  labels:
    app.kubernetes.io/name: paceline
spec:
HEAD
# A line of text indented alike, comments too; empty lines stay empty.
sed -e '/./s/^/  /' rules.yml
