# What zsh makes of a line and a Tab, on a terminal of its own: prints the line then, between << and >>.
# usage: zsh -f complete.zsh DIRECTORY_OF_COMPLETIONS LINE
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=1000; bindkey '^I' complete-word"
zpty -w z 'show() { print -r -- "<<$BUFFER>>" }; zle -N show; bindkey "^X" show; print REA""DY'
until [[ $line == *READY* ]]; do zpty -r z line; done
zpty -w -n z "$2"$'\t'$'\x18'
zpty -r -m z line '*<<*>>*' && print -r -- "$line"
zpty -d z
