#!/bin/bash
# Blob calls with curl and no credential: storage.sh BASE CONTAINER
set -euo pipefail
base=$1 container=$2
ask() { curl --silent --show-error --fail-with-body --max-time 30 "$@"; }

ask --request PUT --data '' "$base/$container?restype=container"
# An escaped slash, a space and a percent sign in the name have to arrive as they were sent.
for name in plain.txt 'a%20b%25c.txt' 'dir%2Fdeep.txt'; do
  ask --request PUT --header 'x-ms-blob-type: BlockBlob' --data-binary "hello from curl" "$base/$container/$name"
  [ "$(ask "$base/$container/$name")" = "hello from curl" ] || { echo "$name came back changed"; exit 1; }
done
[ "$(ask --range 6-9 "$base/$container/plain.txt")" = from ]
ask --head "$base/$container/plain.txt" | grep -qi '^content-length: 15'
ask "$base/$container?restype=container&comp=list&prefix=a%20b" | grep -q '<Name>a b%c.txt</Name>'
ask --request DELETE "$base/$container/plain.txt"
[ "$(curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' "$base/$container/plain.txt")" = 404 ]
echo ok
