#!/bin/sh
# Fails when a source file includes a system library that its layer may not use, or reaches around the include trees with "../".
# usage: check-layers.sh SOURCE_ROOT
cd "$1/src" || exit 1
sandbox=../sandbox
bad=0
forbid() { # FOLDER-PATTERN INCLUDE-REGEX
    # shellcheck disable=SC2086
    hits=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" $1 2>/dev/null)
    [ -z "$hits" ] || { echo "forbidden include, seen from src/:"; echo "$hits"; bad=1; }
}
files() { find $1 -name '*.[ch]' 2>/dev/null | grep -vE "${2:-^$}" | tr '\n' ' '; }
kafka='librdkafka/' curl='curl/' uv='uv\.h' http='microhttpd' ssl='openssl/(ssl|bio|x509|pem)' jansson='jansson\.h' crypto='openssl/'
forbid "$(files ". $sandbox")" '\.\./'
forbid "$(files base)" "$kafka|$curl|$uv|$http|$jansson|$crypto"
forbid "$(files core)" "$kafka|$curl|$uv|$http|$ssl"
forbid "$(files io 'io/kafka')" "$kafka"
forbid "$(files io 'io/platform')" "$curl"
forbid "$(files io 'io/http')" "$http"
forbid "$(files worker)" "$kafka|$curl|$http|$crypto"
forbid "$(files $sandbox)" "$kafka|$curl|$http"
exit $bad
