#!/bin/sh
# Runs the demo and checks that its table shows each status, each request once, and the order within an order.
# usage: check.sh SOURCE_ROOT BUILD_DIRECTORY
out=$("$1/tools/demo" demo "$2" 2>&1) || { echo "$out"; echo "the demo failed"; exit 1; }
echo "$out"
bad=0
for status in succeeded refused invalid expired unavailable unknown; do
    echo "$out" | grep -q "^o-100[0-9]  *$status " || { echo "no request is shown as $status"; bad=1; }
done
[ "$(echo "$out" | grep -c '^o-100[0-9] ')" = 9 ] || { echo "not 9 results"; bad=1; }
echo "$out" | grep -q '^o-1001 .* 17118230000 .*second' || { echo "the virtual number that was asked for is not shown"; bad=1; }
order=$(echo "$out" | awk '/^o-1001 / && /first$|second/ { print /second/ ? "second" : "first" }' | tr '\n' ' ')
[ "$order" = 'first second ' ] || { echo "o-1001 is out of order: $order"; bad=1; }
exit $bad
