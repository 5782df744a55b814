#!/bin/bash
# A token by curl, as IMDS's documentation shows it, and calls of Key Vault with it: imds.sh IMDS BASE NAME [CLIENT_ID]
set -euo pipefail
query="api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net${4:+&client_id=$4}" secret="$2/secrets/$3?api-version=7.4"
ask() { curl --silent --show-error --fail-with-body --max-time 30 "$@"; }

response=$(curl "$1/metadata/identity/oauth2/token?$query" -H Metadata:true -s)
access_token=$(echo "$response" | /usr/bin/python3 -c '
import json, sys, time
answer = json.load(sys.stdin)
# Scripts compare the numbers as the strings that they are.
assert all(isinstance(value, str) for value in answer.values()), sorted(answer)
assert answer["token_type"] == "Bearer" and answer["resource"] == "https://vault.azure.net", sorted(answer)
assert 0 < int(answer["expires_in"]) and abs(int(answer["expires_on"]) - time.time() - int(answer["expires_in"])) < 60, sorted(answer)
print(answer["access_token"])')
ask --request PUT --header "Authorization: Bearer $access_token" --header 'Content-Type: application/json' --data '{"value":"written by curl"}' "$secret" >/dev/null
ask --header "Authorization: Bearer $access_token" "$secret" | grep -q '"value":"written by curl"'
echo ok
