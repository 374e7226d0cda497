#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools.sh codespell|shellcheck ROOT: over every tracked file it is made for.
set -u
tool=$1
cd "$2" || exit 1
command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }
case $tool in
codespell)
    git ls-files -z | grep -zvE '^LICENSE$' | xargs -0 -r codespell -L fo,te,ot,hel,ans,nd,inout,inflight --
    ;;
shellcheck)
    git ls-files -z | while IFS= read -r -d '' f; do
        [ -f "$f" ] || continue
        head -c 64 "$f" | head -n 1 | grep -qE '^#!.*(ba)?sh( -e)?$|^# shellcheck shell=' &&
            printf '%s\0' "$f"
    done | xargs -0 -r shellcheck -x
    ;;
esac
