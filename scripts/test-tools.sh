#!/bin/sh
# What some tests need beside Python: PostgreSQL, a browser, and three npm packages in build/node (miniflare runs Cloudflare's D1:
# 170 MB). What cannot be had is said in one line, and the tests that need it are skipped with a reason.
sh scripts/system-packages.sh postgresql chromium

packages="hls.js@1.7.4 openai@6.49.0 miniflare@4.20260730.0"
have=build/node/.have
[ -f "$have" ] && [ "$(cat "$have")" = "$packages" ] && exit 0
if ! command -v npm >/dev/null 2>&1; then
    echo "note: no npm on this machine; the tests that need $packages are skipped." >&2
    exit 0
fi
mkdir -p build/node
# shellcheck disable=SC2086  # a list of words on purpose
if timeout 300 npm install --prefix build/node --no-save --no-audit --no-fund --ignore-scripts $packages </dev/null >/dev/null 2>&1; then
    printf '%s' "$packages" >"$have"
else
    echo "note: npm could not install $packages; the tests that need them are skipped." >&2
fi
