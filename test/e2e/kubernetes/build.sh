#!/usr/bin/env bash
# Builds the API server and kubectl that the tests run against, of the version that apiserver/go.mod pins, and prints their folder.
# On two cores the first time takes about six minutes, which is why they are kept outside the tree, in the user's cache.
set -euo pipefail
cd "$(dirname "$0")/apiserver"
pinned=$(cat go.mod go.sum | sha256sum | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/bearerd-e2e/kubernetes-$pinned
mkdir -p "$out"
exec 9>"$out/lock"
flock 9 # two test runs at once build it once
if ! [ -x "$out/kubectl" ] || ! [ -x "$out/kube-apiserver" ]; then
  echo "building kube-apiserver and kubectl into $out" >&2
  for name in kube-apiserver kubectl; do
    nice go build -buildvcs=false -ldflags "-s -w" -o "$out/$name.new" "k8s.io/kubernetes/cmd/$name" >&2
    mv "$out/$name.new" "$out/$name"
  done
fi
echo "$out"
