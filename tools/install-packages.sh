#!/bin/sh
# Installs the missing Debian packages that a purpose needs, and names them; uses sudo if it is not run by root. If it cannot install them
# (sudo needs a password, no network), it prints the necessary command within seconds, and exits with 1. It never prompts.
# usage: tools/install-packages.sh build|test|page|bench|distro|deb|compose|kubernetes|kubernetes-check
set -u
build='build-essential cmake ninja-build pkg-config librdkafka-dev libcurl4-openssl-dev libjansson-dev libssl-dev libuv1-dev zlib1g-dev
    libmicrohttpd-dev kcat'
test="$build libcmocka-dev rumur curl zsh mandoc man-db python3 python3-confluent-kafka python3-yaml python3-fastjsonschema default-jre-headless maven clang-tidy clang-format cppcheck"
bench="$build python3 openssl default-jre-headless maven golang-go"
page='chromium python3 python3-confluent-kafka'
distro='mmdebstrap'
deb="$build debhelper lintian"
compose='docker.io iptables iproute2 slirp4netns mmdebstrap python3 kcat default-jre-headless maven'
kubernetes='python3 python3-yaml python3-confluent-kafka'
kubernetes_check='golang-go'
case ${1:-} in
build) wanted=$build ;;
test) wanted=$test ;;
page) wanted=$page ;;
bench) wanted=$bench ;;
distro) wanted=$distro ;;
deb) wanted=$deb ;;
compose) wanted=$compose ;;
kubernetes) wanted=$kubernetes ;;
kubernetes-check) wanted=$kubernetes_check ;;
*) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac

# A tool that exists already, from any source, is not installed as a package.
present() {
    case $1 in
    chromium | cmake | cppcheck | clang | curl | clang-tidy | clang-format | kcat | openssl | python3 | mmdebstrap) command -v "$1" ;;
    ninja-build) command -v ninja ;;
    build-essential) command -v cc && command -v make ;;
    default-jre-headless) command -v java ;;
    maven) command -v mvn || [ -n "${KAFKA_HOME:-}" ] ;;
    golang-go) command -v go ;;
    docker.io) command -v dockerd ;;
    iproute2) command -v ip ;;
    slirp4netns | iptables) command -v "$1" ;;
    *) false ;;
    esac >/dev/null 2>&1 ||
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $wanted; do
    present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
# give_up WHY: ends, and prints what to do instead
give_up() {
    printf 'install-packages: %s. What is missing for %s:%s\n' "$1" "'$purpose'" "$missing" >&2
    [ -z "${2:-}" ] || printf '%s:\n    %s\n' "$2" "${3:-apt-get update && apt-get install -y --no-install-recommends$missing}" >&2
    exit 1
}
purpose=$1
command -v apt-get >/dev/null ||
    give_up 'there is no apt-get here; please install what these Debian packages hold, by whatever name it has here'
root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || give_up 'not root, and there is no sudo here' 'As root'
    sudo -n true 2>/dev/null || give_up 'sudo wants a password here' 'Once' "sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing"
    root='sudo -n'
fi
echo "installing for '$purpose':$missing"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
log=$work/log
# Waits for another apt, but not for a silent server.
options='-o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 -o Acquire::Retries=2 -o DPkg::Lock::Timeout=60'
# Whether one of this system's archives answers. Archives that need no network count as answering.
reachable() {
    uris=$(apt-get update --print-uris 2>/dev/null | sed -n "s|^'\(https*://[^']*/InRelease\)'.*|\1|p" | head -3)
    [ -n "$uris" ] || return 0
    pairs='' n=0
    for uri in $uris; do pairs="$pairs $uri $work/answer.$((n += 1))"; done
    # shellcheck disable=SC2086
    timeout 10 /usr/lib/apt/apt-helper -o Acquire::http::Timeout=5 -o Acquire::https::Timeout=5 -o Acquire::Retries=0 \
        download-file $pairs >"$log" 2>&1
    [ -e "$work/answer.1" ] || [ -e "$work/answer.2" ] || [ -e "$work/answer.3" ]
}
update() { # shellcheck disable=SC2086
    $root apt-get $options update -qq >"$log" 2>&1; }
install() { # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get $options install -y -qq --no-install-recommends $missing >"$log" 2>&1 </dev/null; }
known() { # shellcheck disable=SC2086
    apt-cache show --no-all-versions $missing >/dev/null 2>&1; }
reachable || { cat "$log" >&2; give_up 'the Debian archive cannot be reached from here' 'With a network, as root'; }
known || update
install || { update && install; } || { cat "$log" >&2; give_up 'apt-get could not install them, see above' 'As root'; }
version=$(pkg-config --modversion rdkafka 2>/dev/null)
case $version in
'' | 0.* | 1.* | 2.0.0 | 2.0.1)
    case $purpose in distro | compose | kubernetes*) exit ;; esac
    echo "librdkafka ${version:-missing}: 2.0.2 or newer is needed (Debian 12, Ubuntu 24.04 or newer)" >&2
    exit 1 ;;
esac
