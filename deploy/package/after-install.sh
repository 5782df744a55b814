#!/bin/sh
# Debian calls it with "configure" and the version before, if any; RPM with how many versions there are.
set -e
systemd-sysusers bearerd.conf
systemd-tmpfiles --create bearerd.conf
# Nothing is started that was not: whoever installs enables bearerd, and bearerd-redirect where calls are to be led.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # One that does not start any more, for a key of its configuration has gone, is not the package's failure: it is tried again by itself.
    systemctl try-restart bearerd.service || echo "bearerd has not started again; see: bearerd check; journalctl -u bearerd" >&2
fi
