#!/usr/bin/env bash
# Builds the API server that the tests run against, of the version that apiserver/go.mod pins, and kubectl where the machine has none, makes the definition of
# PodMonitor from the Prometheus operator's types, and prints the folder with the three.
# On two cores the first time takes about six minutes, which is why they are kept outside the tree, in the user's cache.
set -euo pipefail
cd "$(dirname "$0")/apiserver"
pinned=$(cat go.mod go.sum | sha256sum | cut -c1-16)
out=${XDG_CACHE_HOME:-$HOME/.cache}/bearerd-e2e/kubernetes-$pinned
mkdir -p "$out"
exec 9>"$out/lock"
flock 9 # two test runs at once build it once
if [ ! -e "$out/kubectl" ] && found=$(command -v kubectl); then ln -s "$found" "$out/kubectl"; fi
for name in kube-apiserver kubectl; do
  [ ! -x "$out/$name" ] || continue
  echo "building $name into $out" >&2
  nice go build -buildvcs=false -ldflags "-s -w" -o "$out/$name.new" "k8s.io/kubernetes/cmd/$name" >&2
  mv "$out/$name.new" "$out/$name"
done
if [ ! -s "$out/podmonitors.yaml" ]; then
  echo "making the definition of PodMonitor" >&2
  all=$(mktemp -d)
  trap 'rm -rf "$all"' EXIT
  nice go tool controller-gen crd paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 "output:crd:dir=$all" >&2
  mv "$all/monitoring.coreos.com_podmonitors.yaml" "$out/podmonitors.yaml"
fi
echo "$out"
