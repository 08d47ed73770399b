#!/bin/sh
# The tests want a real Mosquitto, and a C compiler for MicroPython. Root on a Debian gets them; others are told.
set -u
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v mosquitto >/dev/null 2>&1 || missing="$missing mosquitto"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # A container has no package lists yet; the start of a service is not ours to ask for.
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/dev/null || {
        echo "apt could not install$missing; install them by hand and call make test again" >&2
        exit 1
    }
    exit 0
fi
echo "make test needs$missing: install them with your package manager, then call make test again" >&2
exit 1
