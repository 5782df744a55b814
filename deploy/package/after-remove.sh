#!/bin/sh
# Debian says "remove", then "purge" where nothing is to stay; RPM says how many versions stay, and has no purge.
# The user stays, so that its number is never another's who would own what it left elsewhere.
set -e
case "$1" in
purge)
    rm -rf /etc/bearerd /etc/systemd/system/bearerd.service.d /etc/systemd/system/bearerd.socket.d /var/lib/bearerd /run/bearerd
    ;;
esac
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
