#!/usr/bin/env bash
# Runs each fuzz target of the main module for a while ($1, 30s by default): `go test -fuzz` takes one target of one package at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}

targets=$(git ls-files -co --exclude-standard '*_test.go' | xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' /dev/null | sed 's/:func /:/')
[ -n "$targets" ] || { echo "fuzz: no fuzz target found" >&2; exit 1; }
while IFS=: read -r file target; do
  echo "== $(dirname "$file") $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "./$(dirname "$file")"
done <<<"$targets"
