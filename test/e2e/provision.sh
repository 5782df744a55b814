#!/usr/bin/env bash
# Installs the programs that the end-to-end tests and the comparison run against, from Debian, where they are missing.
# Nothing is installed that is there already, whoever installed it (a JDK or a Node.js of the machine's own is used as it is).
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
# Debian's own interpreter: a version manager's python3 may come first in PATH and not know Debian's packages.
can_import() { /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }
certificates=/etc/ssl/certs/ca-certificates.crt

packages=()
have curl || packages+=(curl)
have openssl || packages+=(openssl)
have ip || packages+=(iproute2)
have nft || packages+=(nftables)
have gcc || packages+=(gcc libc6-dev) # the race detector links C
have node || packages+=(nodejs)
have npm || packages+=(npm)
have java || packages+=(default-jdk-headless)
have nginx || packages+=(nginx)
have haproxy || packages+=(haproxy)
have wrk || packages+=(wrk)
have prometheus || packages+=(prometheus) # with promtool
have debootstrap || packages+=(debootstrap)
have systemd-nspawn || packages+=(systemd-container)
have rpm || packages+=(rpm)
have skopeo || packages+=(skopeo) # reads images
have az || packages+=(azure-cli) # 90 MB beside Python's part of the SDK, below
have rclone || packages+=(rclone)
have etcd || packages+=(etcd-server) # below Kubernetes' API server
have openssl || packages+=(openssl)
can_import grpc || packages+=(python3-grpcio)
have chromium || packages+=(chromium) # with its libraries 414 MB, and 47 s
can_import requests || packages+=(python3-requests)
can_import azure.storage.blob,azure.storage.queue,azure.data.tables || packages+=(python3-azure-storage) # with all of the SDK, 640 MB
perl -MIO::Socket::SSL -e 1 2>/dev/null || packages+=(perl libio-socket-ssl-perl)
[ -s "$certificates" ] || packages+=(ca-certificates)

[ ${#packages[@]} -gt 0 ] || exit 0

if ! have apt-get; then
  echo "provision: this machine has no apt-get; install what Debian calls: ${packages[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "provision: not root, and sudo wants a password; run: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# Debian starts a daemon as soon as it is installed. The tests start theirs themselves, so a policy holds the system's back meanwhile.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

echo "provision: installing ${packages[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
