#!/bin/sh
# Debian says "remove" or "upgrade", RPM how many versions stay.
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
    # The rules first: without bearerd, calls that they lead would find nobody.
    systemctl disable --now bearerd-redirect.service bearerd-redirect-verify.timer
    systemctl disable --now bearerd.socket bearerd.service
fi
# The system is not to trust an authority that nobody looks after.
bearerd ca uninstall || echo "take bearerd's root out of the system's trust store by hand" >&2
