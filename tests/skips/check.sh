#!/bin/sh
# What a machine's tools leave undone is told: exit status 77, and with CI=true a failure, which a skipped test is there. What can be
# done is done all the same. With tools of its own in the place of the real ones.
# usage: check.sh SOURCE_DIRECTORY BUILD_DIRECTORY
source=${1:?usage: check.sh SOURCE_DIRECTORY BUILD_DIRECTORY} build=${2:?}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

# tool NAME VERSION [STATUS]: one that notes that it ran, and so ends
tool() {
    printf '#!/bin/sh\n[ "$1" = --version ] && { echo "version %s"; exit; }\necho >>"%s/%s.ran"\nexit %s\n' \
        "$2" "$work" "$1" "${3:-0}" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}
tools() {
    rm -rf "$work"/bin "$work"/*.ran
    mkdir "$work/bin"
    for name in dirname find xargs grep nproc; do ln -s "$(command -v $name)" "$work/bin/$name"; done
}
# expect STATUS CI WHAT COMMAND...
expect() {
    status=$1 ci=$2 what=$3
    shift 3
    CI=$ci PATH=$work/bin "$@" >"$work/out" 2>&1
    found=$?
    [ $found = "$status" ] || { bad=1; echo "$what, CI=$ci: exit status $found, not $status"; cat "$work/out"; }
}
# ran NAME...: these and no other
ran() {
    found=$(cd "$work" && echo *.ran)
    [ "$found" = "$*" ] || { bad=1; echo "$what: ran $found, not $*"; }
}

for ci in '77 ' '1 true'; do
    skipped=${ci% *} ci=${ci#* }
    tools
    expect "$skipped" "$ci" 'model without rumur' "$source/tests/model/check"

    tools
    expect "$skipped" "$ci" 'lint without tools' "$source/tools/lint" "$build"

    tools; tool clang-format 14.0.6; tool clang-tidy 16.0.6; tool cppcheck 2.10
    expect "$skipped" "$ci" 'lint with another clang-tidy' "$source/tools/lint" "$build"
    ran clang-format.ran cppcheck.ran

    tools; tool clang-format 16.0.6; tool clang-tidy 1.14.0; tool cppcheck 2.10 1
    expect 1 "$ci" 'lint with another clang, and a finding of cppcheck' "$source/tools/lint" "$build"
    ran cppcheck.ran

    for version in 14.0.6 19.1.7; do
        tools; tool clang-format $version; tool clang-tidy $version; tool cppcheck 2.10
        expect 0 "$ci" "lint with all tools of LLVM $version" "$source/tools/lint" "$build"
        ran clang-format.ran clang-tidy.ran cppcheck.ran
    done
done
exit $bad
