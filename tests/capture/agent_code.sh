#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent's code is copied elsewhere as bytes: nothing in it may need a linker, but to tell
# how far one part of it is from another.
# usage: agent_code.sh LIBRARY
set -eu
inside=$(objdump -t "$1" | awk '/ agent_text\t/ { print $NF }')
if [ -z "$inside" ]; then
    echo "no section agent_text in $1"
    exit 1
fi
outside=$(objdump -r -j agent_text "$1" |
    awk -v inside="$inside" 'BEGIN { split(inside, s); for (i in s) ok[s[i]] = 1 }
        $2 ~ /^R_/ { name = $3; sub(/[-+]0x[0-9a-f]+$/, "", name) }
        $2 ~ /^R_/ && !($2 ~ /^R_X86_64_(PC32|PLT32)$/ && name in ok) { print $2, $3 }')
if [ -n "$outside" ]; then
    echo "the agent's code refers to something outside itself:"
    echo "$outside"
    exit 1
fi
