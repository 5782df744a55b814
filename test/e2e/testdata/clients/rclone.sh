# Copies files to a container and back with rclone's azureblob and an account's key: rclone.sh BASE CONTAINER KEY
set -eu
base=$1 name=$2
export RCLONE_CONFIG=/dev/null RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=1 RCLONE_AZUREBLOB_ACCOUNT=acct RCLONE_AZUREBLOB_KEY=$3
case $base in
https://*) ;; # what it makes of the account's name
*) export RCLONE_AZUREBLOB_ENDPOINT=$base RCLONE_AZUREBLOB_USE_EMULATOR=true ;;
esac

mkdir -p sent/dir
echo "hello from rclone" >"sent/dir/a b%c.txt"
head -c 9000000 /dev/urandom >sent/big.bin

rclone mkdir ":azureblob:$name"
rclone copy --azureblob-chunk-size 4M sent ":azureblob:$name/backup"
rclone check --download sent ":azureblob:$name/backup"
rclone copy ":azureblob:$name/backup" received
diff -r sent received
[ "$(rclone lsf -R --files-only ":azureblob:$name" | sort | tr '\n' ' ')" = "backup/big.bin backup/dir/a b%c.txt " ]
rclone copyto ":azureblob:$name/backup/big.bin" ":azureblob:$name/copy.bin"
rclone purge ":azureblob:$name"
echo ok
