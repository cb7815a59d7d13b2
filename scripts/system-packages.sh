#!/bin/sh
# Installs Debian packages: by default those that give polydub an embedded translator, else the ones named. They are a help,
# not a need: whatever happens here, the build goes on, and one line says what is missing and how to get it.
wanted="${*:-apertium-eng-spa}"
what="machine translation needs another engine (polydub engines lists them)"
[ $# -gt 0 ] && what="the tests that need them are skipped"

missing=""
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

note() {
    echo "note: $1; without$missing, $what." >&2
    echo "      To install:$2 apt-get install -y --no-install-recommends$missing" >&2
    exit 0
}

command -v apt-get >/dev/null 2>&1 || note "no apt-get on this machine" ""
[ -n "$POLYDUB_NO_APT" ] && note "POLYDUB_NO_APT is set" " sudo"
[ "$(id -u)" -eq 0 ] || note "not root" " sudo"

apt="apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=120"
export DEBIAN_FRONTEND=noninteractive
echo "Installing$missing ..."
# shellcheck disable=SC2086  # a list of words on purpose
install() { timeout 600 $apt install -y --no-install-recommends $missing </dev/null >/dev/null 2>&1; }
install || { timeout 120 $apt update </dev/null >/dev/null 2>&1; install; } || note "apt-get could not install$missing" ""
