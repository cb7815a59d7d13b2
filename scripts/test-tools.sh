#!/bin/sh
# What some tests need beside Python: PostgreSQL, a browser, a generator of clients in build/client-generator, and three npm packages
# in build/node (miniflare runs Cloudflare's D1: 170 MB). What cannot be had is said in one line, and the tests that need it are
# skipped with a reason.
sh scripts/system-packages.sh postgresql chromium

generator="openapi-python-client==0.29.1"
venv=build/client-generator
if ! { [ -f "$venv/.have" ] && [ "$(cat "$venv/.have")" = "$generator" ]; }; then
    if .venv/bin/python -m venv --clear "$venv" >/dev/null 2>&1 &&
        timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$generator" </dev/null >/dev/null 2>&1; then
        printf '%s' "$generator" >"$venv/.have"
    else
        echo "note: pip could not install $generator; the test of a generated client is skipped." >&2
    fi
fi

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
