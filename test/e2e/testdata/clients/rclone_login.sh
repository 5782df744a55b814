# Copies a file to a container and back with rclone's azureblob and a service principal: rclone_login.sh CONTAINER TENANT CLIENT SECRET
set -eu
name=$1
printf '{"appId": "%s", "displayName": "app", "name": "app", "password": "%s", "tenant": "%s"}' "$3" "$4" "$2" >principal.json
export RCLONE_CONFIG=/dev/null RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=1 RCLONE_AZUREBLOB_ACCOUNT=acct RCLONE_AZUREBLOB_SERVICE_PRINCIPAL_FILE=principal.json

mkdir sent
echo "hello from rclone" >"sent/a b.txt"
rclone mkdir ":azureblob:$name"
rclone copy sent ":azureblob:$name"
rclone copy ":azureblob:$name" received
diff -r sent received
[ "$(rclone lsf -R --files-only ":azureblob:$name")" = "a b.txt" ]
rclone purge ":azureblob:$name"
echo ok
