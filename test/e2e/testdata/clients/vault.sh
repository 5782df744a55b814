#!/bin/bash
# Key Vault calls with curl and no credential: vault.sh BASE NAME
set -euo pipefail
base=$1 secret=$1/secrets/$2 version='api-version=7.4'
ask() { curl --silent --show-error --fail-with-body --max-time 30 "$@"; }

ask --request PUT --header 'Content-Type: application/json' --data '{"value":"written by curl"}' "$secret?$version" >/dev/null
ask "$secret?$version" | grep -q '"value":"written by curl"'
# Without a length, too.
printf '{"value":"written in chunks"}' | ask --request PUT --header 'Content-Type: application/json' --header 'Transfer-Encoding: chunked' --data-binary @- "$secret?$version" >/dev/null
ask "$secret?$version" | grep -q '"value":"written in chunks"'
ask "$base/secrets?$version&maxresults=25" | grep -q '/secrets/'
ask --request DELETE "$secret?$version" >/dev/null
[ "$(curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' "$secret?$version")" = 404 ]
# These need no body, and are no question for the challenge.
ask --request POST --data '' "$base/deletedsecrets/$2/recover?$version" >/dev/null
ask --request POST --data '' "$secret/backup?$version" | grep -q '"value"'
echo ok
