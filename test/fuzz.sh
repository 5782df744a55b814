#!/usr/bin/env bash
# Runs each fuzz target of the main module for a while ($1, 30s by default): `go test -fuzz` takes one target of one package at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Before Go 1.27 the end of -fuzztime can be taken for a failure of the target (go.dev/issue/75804): "context deadline exceeded", and no failing input.
# That alone is tried again.
fuzz() {
  for attempt in 1 2 3; do
    if go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 1x "./$1" 2>&1 | tee "$log"; then return 0; fi
    if grep -q 'Failing input written' "$log" || ! grep -qE '^ +context deadline exceeded$' "$log"; then return 1; fi
    echo "== $1 $2 did not fail, but ended badly (attempt $attempt)"
  done
  return 1
}

targets=$(git ls-files -co --exclude-standard '*_test.go' | xargs -r grep -HoE '^func Fuzz[A-Za-z0-9_]+' /dev/null | sed 's/:func /:/')
[ -n "$targets" ] || { echo "fuzz: no fuzz target found" >&2; exit 1; }
while IFS=: read -r file target; do
  echo "== $(dirname "$file") $target"
  fuzz "$(dirname "$file")" "$target" || exit 1
done <<<"$targets"
