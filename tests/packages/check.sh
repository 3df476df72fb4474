#!/bin/sh
# What tools/install-packages.sh does where packages are missing: it installs them, or says within seconds what would, and fails. With
# programs of its own in the place of apt, dpkg, sudo and id.
# usage: check.sh SOURCE_DIRECTORY
source=${1:?usage: check.sh SOURCE_DIRECTORY}
work=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
bad=0

# tool NAME SCRIPT: a program that notes how it was called and then does what the script says
tool() {
    printf '#!/bin/sh\necho "%s $*" >>"%s/ran"\n%s\n' "$1" "$work" "$2" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
# machine USER ARCHIVE: one without any package, whose archive is there, or nothing is
machine() {
    rm -rf "$work/bin" "$work/ran" && mkdir "$work/bin" && : >"$work/ran"
    for name in sed head mktemp rm cat env timeout sleep; do ln -s "$(command -v $name)" "$work/bin/$name"; done
    tool dpkg-query 'exit 1'
    tool id "echo $1"
    tool apt-get "case \"\$*\" in *--print-uris) echo \"'$2/dists/x/InRelease' x 0\" ;; *) [ ! -e '$work/refused' ] ;; esac"
    tool apt-cache ''
    tool pkg-config 'echo 2.0.2'
}
# expect STATUS WHAT WORDS: the status, within seconds, and what is said about it
expect() {
    began=$(date +%s)
    PATH=$work/bin "$work/bin/env" KAFKA_HOME= /bin/sh "$source/tools/install-packages.sh" test >"$work/out" 2>&1 </dev/null
    found=$? took=$(($(date +%s) - began))
    [ $found = "$1" ] || { bad=1; echo "$2: exit status $found, not $1"; cat "$work/out"; }
    [ $took -le 20 ] || { bad=1; echo "$2: took $took s"; }
    grep -q -e "$3" "$work/out" || [ -z "$3" ] || { bad=1; echo "$2: does not say '$3':"; cat "$work/out"; }
}
# ran WORDS: whether apt-get was called so; ran_not: whether not
ran() { grep -q -e "$1" "$work/ran" || { bad=1; echo "nothing ran '$1':"; cat "$work/ran"; }; }
ran_not() { ! grep -q -e "$1" "$work/ran" || { bad=1; echo "'$1' ran:"; cat "$work/ran"; }; }

machine 0 file:/archive
expect 0 'as root' "installing for 'test':.* libcmocka-dev"
ran '^apt-get .*install -y .* libcmocka-dev'

machine 0 file:/archive
tool dpkg-query 'echo installed'
expect 0 'with all packages' ''
ran_not ^apt-get

machine 0 file:/archive
: >"$work/refused"
expect 1 'when apt-get fails' 'apt-get install -y --no-install-recommends .* libcmocka-dev'
rm "$work/refused"

machine 0 http://127.0.0.1:1
expect 1 'without network' 'cannot be reached'
grep -q 'apt-get install -y --no-install-recommends .* libcmocka-dev' "$work/out" || { bad=1; echo 'without network: no command'; }
ran_not '^apt-get .*install'

# An archive that takes connections and says nothing, as a network that drops packets does.
mkfifo "$work/port"
/usr/bin/env python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], file=open("'"$work"'/port", "w"))
time.sleep(120)' &
server=$!
read -r port <"$work/port"
machine 0 "http://127.0.0.1:$port"
expect 1 'with a network that is silent' 'cannot be reached'
ran_not '^apt-get .*install'

machine 1000 file:/archive
expect 1 'without sudo' 'no sudo here'
grep -q 'apt-get install -y --no-install-recommends .* libcmocka-dev' "$work/out" || { bad=1; echo 'without sudo: no command'; }
ran_not ^apt-get

machine 1000 file:/archive
tool sudo '[ "$1" = -n ] || sleep 120; exit 1'
expect 1 'with a sudo that wants a password' 'wants a password'
grep -q 'sudo apt-get install .* libcmocka-dev' "$work/out" || { bad=1; echo 'with a sudo that wants a password: no command'; }
ran_not ^apt-get

machine 1000 file:/archive
tool sudo '[ "$1" = -n ] && shift; exec "$@"'
tool true ''
expect 0 'with sudo' 'installing'
ran '^apt-get .*install -y .* libcmocka-dev'

machine 0 file:/archive
rm "$work/bin/apt-get"
expect 1 'without apt' 'no apt-get here.* libcmocka-dev'
exit $bad
