# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# bash completion for rmem and rmemd.
#
# It knows no command, option or store by name: it reads what the program itself
# prints with --help, which comes from its tables, and what kind of word is wanted
# from the name of the value there: FILE, SPEC, PID, CMD, or the words themselves
# as in kill|sigbus. So it fits every version, and needs no change for new options.

# "--name VALUE" for each option of the help on standard input, short ones too.
_rmem_options() {
    sed -nE -e 's/^ +(-[a-zA-Z]), (--[a-z0-9-]+)( ([^ ]+))?( .*)?$/\1 \4\n\2 \4/p' -e t \
        -e 's/^ +(--[a-z0-9-]+)( ([^ ]+))?( .*)?$/\1 \3/p'
}

# First words of a list such as "Commands:" in the help on standard input.
_rmem_list() {
    sed -nE "/^$1:\$/,/^\$/s/^  ([^ ]+).*/\\1/p"
}

# Forms of a SPEC: shm:/PATH. rmem has a topic for them, rmemd lists them.
_rmem_specs() {
    case ${1##*/} in
    rmemd) "$1" --help 2>/dev/null | sed -nE 's/^ {20,}([a-z]+:[^ ]+) .*/\1/p' ;;
    *) "$1" help stores 2>/dev/null | _rmem_list Stores ;;
    esac
}

# Words to choose from; what ends with ':', '=' or '/' is to be gone on with.
_rmem_words() {
    mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
    case ${COMPREPLY[0]-} in
    *[:=/]) [ ${#COMPREPLY[@]} -ne 1 ] || compopt -o nospace 2>/dev/null ;;
    esac
}

# Files that begin with $2; $1 is what stands before the path.
_rmem_files() {
    mapfile -t COMPREPLY < <(compgen -P "$1" -f -- "$2")
    compopt -o filenames 2>/dev/null
}

# $1: program, $2: the name that help gives to the value
_rmem_value() {
    local form forms=() words=()
    case $2 in
    FILE | '[FILE]') _rmem_files "" "$cur"; return ;;
    SPEC) mapfile -t forms < <(_rmem_specs "$1") ;;
    *) IFS='|' read -ra forms <<<"$2" ;;
    esac
    for form in "${forms[@]}"; do
        form=${form%%[A-Z\[]*}
        if [[ $form = */* && $cur = "${form%%/*}/"* ]]; then
            _rmem_files "${form%%/*}" "${cur#"${form%%/*}"}"
            return
        fi
        [[ $form != */* ]] || form=${form%%/*}/
        words+=("$form")
    done
    _rmem_words "${words[*]}"
}

# Runs that may be looked at, or own processes to attach to.
_rmem_pids() {
    if [ "$2" = attach ]; then
        _rmem_words "$(ps -u "$(id -u)" -o pid= 2>/dev/null)"
    else
        _rmem_words "$("$1" stat 2>/dev/null | sed -nE 's/^ *supervisor, job +([0-9]+),.*/\1/p')"
    fi
}

# The command that is run, from word $1 on: as if it stood alone.
_rmem_command() {
    head=
    if declare -F _command_offset >/dev/null; then
        _command_offset "${first[$1]}"
    elif [ ${#words[@]} -gt $(($1 + 1)) ] || [[ $cur = */* ]]; then
        _rmem_files "" "$cur"
    else
        mapfile -t COMPREPLY < <(compgen -c -- "$cur")
    fi
}

# Looks at the words before the one that is completed, from word $1 on. Sets want,
# the value that comes next; at, the first word of a command or after "--".
_rmem_scan() {
    local i word
    for ((i = $1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [ "$word" = -- ]; then
            at=$((i + 1))
            return
        elif [[ $word != -?* ]]; then
            nr_operands=$((nr_operands + 1))
            [ -z "$runs" ] || { at=$i; return; }
        elif [ -n "${takes[$word]-}" ]; then
            i=$((i + 1))
            [ "$i" -lt $((${#words[@]} - 1)) ] || want=${takes[$word]}
        fi
    done
}

# $1: program, $2: its subcommand or nothing, $3: first word after it
_rmem_complete() {
    local help usage runs='' want='' at='' nr_operands=0 name value
    local -A takes=()
    help=$("$1" ${2:+"$2"} --help 2>/dev/null) || return
    usage=$(sed -n 's/^Usage: //p' <<<"$help")
    while read -r name value; do
        takes[$name]=$value
    done < <(_rmem_options <<<"$help")
    [[ $usage != *CMD* ]] || runs=yes
    _rmem_scan "$3"
    if [ -n "$want" ]; then
        _rmem_value "$1" "$want"
    elif [ -n "$at" ]; then
        [ -z "$runs" ] || _rmem_command "$at"
    elif [[ $cur = --*=* ]]; then
        want=${takes[${cur%%=*}]-} lead=${cur%%=*}= cur=${cur#*=}
        _rmem_value "$1" "$want"
    elif [[ $cur = -* ]]; then
        _rmem_words "${!takes[*]}"
    elif [ -n "$runs" ]; then
        _rmem_command $((${#words[@]} - 1))
    elif [[ $nr_operands -eq 0 && $usage =~ ^rmem\ [a-z]+\ ([a-z]+(\|[a-z]+)+) ]]; then
        _rmem_words "${BASH_REMATCH[1]//|/ }"
    elif [[ $usage = *PID* && $nr_operands -eq 0 ]]; then
        _rmem_pids "$1" "$2"
    else
        _rmem_words "${!takes[*]}"
    fi
}

# Sets words, the words up to the cursor, which bash has split at ':' and '=' too;
# first, where in COMP_WORDS each begins; cur, the last of them; head, what of it
# stands before the part that readline will replace.
_rmem_join() {
    local line=${COMP_LINE:0:COMP_POINT} piece gap i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${line%%[![:space:]]*}
        line=${line#"$gap"}
        piece=${COMP_WORDS[i]}
        [ ${#piece} -le ${#line} ] || piece=$line
        line=${line:${#piece}}
        if [ "$i" -eq 0 ] || [ -n "$gap" ]; then
            words+=("$piece") first+=("$i")
        else
            words[-1]+=$piece
        fi
    done
    cur=${words[-1]}
    case $piece in
    : | =) head=$cur ;;
    *) head=${cur%"$piece"} ;;
    esac
}

_rmem() {
    local words=() first=() cur='' head='' lead='' prog=${1/#\~\//$HOME/} i
    COMPREPLY=()
    type -P "$prog" >/dev/null || return
    _rmem_join
    if [ "${prog##*/}" = rmemd ]; then
        _rmem_complete "$prog" "" 1
    elif [ ${#words[@]} -eq 2 ]; then
        _rmem_words "$("$prog" --help | _rmem_list Commands)" \
            "$("$prog" --help | _rmem_options | cut -d ' ' -f 1)"
    elif [ "${words[1]}" = help ]; then
        [ ${#words[@]} -ne 3 ] ||
            _rmem_words "$("$prog" --help | _rmem_list '(Commands|Topics)')"
    elif "$prog" --help | _rmem_list Commands | grep -qxF -e "${words[1]}"; then
        _rmem_complete "$prog" "${words[1]}" 2
    fi
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=$lead${COMPREPLY[i]}
        COMPREPLY[i]=${COMPREPLY[i]#"$head"}
    done
}

complete -F _rmem rmem rmemd
