#!/bin/sh
# kcat against the embedded broker: list, produce, consume, consume as a group that goes on where it stopped.
# usage: kcat.sh SANDBOX_PROGRAM KCAT
set -eu
work=$(mktemp -d)
mkfifo "$work/address"
"$1" --no-platform --topic orders:4 --topic zipped:1 >"$work/address" 2>"$work/log" &
broker=$!
trap 'kill "$broker" && wait "$broker" || true; rm -rf "$work"' EXIT
read -r _ address <"$work/address"
run() { timeout 20 "$kcat" -b "$address" "$@"; }
kcat=$2
expect() { # WHAT EXPECTED ACTUAL
    [ "$2" = "$3" ] && return
    echo "$1: expected '$2', got '$3'"
    exit 1
}

printf 'o-1:first\no-2:second\no-1:third\n' | run -P -t orders -K: -H trace=abc
expect partitions 4 "$(run -L -t orders | grep -c 'partition [0-9]*, leader 1')"
expect consumed 'o-1 first trace=abc,o-1 third trace=abc,o-2 second trace=abc,' \
    "$(run -C -t orders -e -q -f '%k %s %h\n' | sort | tr '\n' ',')"
expect compressed 'squeezed' \
    "$(echo squeezed | run -P -t zipped -z gzip -p 0; run -C -t zipped -p 0 -e -q)"
group() { run -X auto.offset.reset=earliest -G readers orders -e -q -f '%k\n' | sort | tr '\n' ','; }
expect 'group, first time' 'o-1,o-1,o-2,' "$(group)"
expect 'group, nothing new' '' "$(group)"
echo 'o-3:fourth' | run -P -t orders -K:
expect 'group, one more' 'o-3,' "$(group)"
