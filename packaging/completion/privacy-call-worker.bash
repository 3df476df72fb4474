# bash completion for privacy-call-worker
_privacy_call_worker()
{
    local keys='@KEYS@'
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' words
    # What readline takes for words ends at = and :, a KEY=VALUE does not.
    [[ $COMP_CWORD -lt 1 ]] || prev=${COMP_WORDS[COMP_CWORD - 1]}
    [[ $COMP_CWORD -lt 2 ]] || case ${COMP_WORDS[1]} in
        ledger) command=ledger; [[ $COMP_CWORD -lt 3 || ${COMP_WORDS[2]} != repair ]] || command=repair ;;
        redrive | help) command=${COMP_WORDS[1]} ;;
    esac
    COMPREPLY=()
    case $prev in
        -c) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        -o) compopt -o nospace 2>/dev/null; mapfile -t COMPREPLY < <(compgen -S = -W "$keys" -- "$cur"); return ;;
        --reason) mapfile -t COMPREPLY < <(compgen -W invalid -- "$cur"); return ;;
        --topic | --partition | --offset | --code | --since | --order | --limit | = | :) return ;;
    esac
    case $command in
        ledger) words='-c -o --json --help'; [[ $COMP_CWORD -gt 2 ]] || words+=' repair' ;;
        repair) words='-c -o --topic --partition --offset --yes --help' ;;
        redrive) words='-c -o --reason --code --since --order --limit --dry-run --help' ;;
        help)
            words=''
            [[ $COMP_CWORD -ne 2 ]] || words='ledger redrive'
            [[ $COMP_CWORD -ne 3 || ${COMP_WORDS[2]} != ledger ]] || words=repair ;;
        *) words='-c -o --check --print-config --version --help'; [[ $COMP_CWORD -gt 1 ]] || words+=' ledger redrive help' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _privacy_call_worker privacy-call-worker
