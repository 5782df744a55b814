#!/bin/bash
# Has the system's store trust the authority and no more: install.sh BEARERD CONFIG URL CODE
# It runs in a mount namespace of its own, where layers of memory lie over what it changes, so that the machine's store stays as it is.
set -euo pipefail
bearerd=$1 config=$2 url=$3 code=$4

mount --make-rprivate /
memory=$(mktemp -d)
mount -t tmpfs tmpfs "$memory"
for folder in /etc/ssl /etc/ca-certificates /usr/local/share/ca-certificates /var/lib/dpkg /var/lib/ca-certificates-java; do
  [ -d "$folder" ] || continue # the last one comes with Debian's Java
  layer=$memory/$folder
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$layer/upper,workdir=$layer/work" "$folder"
done
umount --lazy "$memory"
rmdir "$memory"
store=/etc/ssl/certs/ca-certificates.crt
before=$(cat "$store")

ask() { curl --silent --show-error --max-time 30 --output /dev/null --write-out '%{http_code}' "$url" || echo " exit $?"; }
python() { /usr/bin/python3 -c 'import requests, sys; print(requests.get(sys.argv[1], timeout=30).status_code)' "$url" 2>&1 | grep -o "$code\|CERTIFICATE_VERIFY_FAILED" | head -1; }
trusted() {
  [ "$(ask)" = "$code" ] || { echo "$1: curl does not trust the authority: $(ask)"; exit 1; }
  [ "$(python)" = "$code" ] || { echo "$1: requests does not trust the authority"; exit 1; }
}
untrusted() {
  [ "$(ask 2>/dev/null)" = '000 exit 60' ] || { echo "$1: curl trusts the authority: $(ask)"; exit 1; }
  [ "$(python)" = CERTIFICATE_VERIFY_FAILED ] || { echo "$1: requests trusts the authority"; exit 1; }
}
# in_java says whether Debian's Java has a root of bearerd's, and which.
in_java() {
  [ ! -e /etc/ssl/certs/java/cacerts ] || keytool -list -keystore /etc/ssl/certs/java/cacerts -storepass changeit 2>/dev/null | grep -A1 bearerd | tail -1
}
file=/usr/local/share/ca-certificates/bearerd.crt

untrusted 'at first'
[ "$("$bearerd" ca install --config "$config")" = "installed $file" ]
trusted 'installed'
java=$(in_java)
[ ! -e /etc/ssl/certs/java/cacerts ] || [ -n "$java" ] || { echo 'Java does not trust the authority'; exit 1; }
after=$(cat "$store")
"$bearerd" ca install --config "$config" >/dev/null
[ "$(cat "$store")" = "$after" ] || { echo 'a second installation changes the store'; exit 1; }

# A renewed one, which the daemon that runs does not have yet, takes the place of the one before.
"$bearerd" ca init --renew --config "$config" >/dev/null
"$bearerd" ca install --config "$config" >/dev/null
untrusted 'renewed'
[ -z "$java" ] || [ "$(in_java)" != "$java" ] || { echo 'Java still trusts the authority of before the renewal'; exit 1; }

[ "$("$bearerd" ca uninstall)" = "removed $file" ]
untrusted 'uninstalled'
[ -z "$(in_java)" ] || { echo 'Java still trusts the authority'; exit 1; }
[ "$(cat "$store")" = "$before" ] || { echo 'the store is not as it was'; exit 1; }
[ -z "$(find /etc/ssl/certs /usr/local/share/ca-certificates -name '*bearerd*')" ] || { echo 'something is left'; exit 1; }
echo ok
