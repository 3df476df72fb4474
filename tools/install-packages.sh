#!/bin/sh
# Installs the Debian packages that a purpose needs and that are missing, saying which; with sudo when not root.
# usage: tools/install-packages.sh build|test|bench
set -u
build='build-essential cmake ninja-build pkg-config librdkafka-dev libcurl4-openssl-dev libjansson-dev libssl-dev libuv1-dev
    libmicrohttpd-dev kcat'
test="$build libcmocka-dev rumur curl python3 python3-confluent-kafka default-jre-headless maven clang-tidy clang-format cppcheck"
bench="$build python3 openssl default-jre-headless maven golang-go"
case ${1:-} in
build) wanted=$build ;;
test) wanted=$test ;;
bench) wanted=$bench ;;
*) sed -n '2,3p' "$0" >&2; exit 2 ;;
esac

# A tool that is there already, from wherever, need not come as a package.
present() {
    case $1 in
    cmake | cppcheck | clang | curl | clang-tidy | clang-format | kcat | openssl | python3) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    build-essential) command -v cc && command -v make ;;
    default-jre-headless) command -v java ;;
    maven) command -v mvn || [ -n "${KAFKA_HOME:-}" ] ;;
    golang-go) command -v go ;;
    *) false ;;
    esac >/dev/null 2>&1 ||
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "install-packages: no apt-get here; please install yourself what these Debian packages hold:$missing" >&2
    exit 1
fi
echo "installing for '$1':$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
root=
[ "$(id -u)" = 0 ] || root=sudo
install() { # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1; }
known() { # shellcheck disable=SC2086
    apt-cache show --no-all-versions $missing >/dev/null 2>&1; }
known || $root apt-get update -qq
install || { $root apt-get update -qq && install; } || { cat "$log" >&2; exit 1; }
version=$(pkg-config --modversion rdkafka 2>/dev/null)
case $version in
'' | 0.* | 1.* | 2.0.0 | 2.0.1)
    echo "librdkafka ${version:-missing}: 2.0.2 or newer is needed (Debian 12, Ubuntu 24.04 or newer)" >&2
    exit 1 ;;
esac
