#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent's code is copied elsewhere as bytes: nothing in it may need a linker.
# usage: agent_code.sh LIBRARY
set -eu
text=$(readelf -SW "$1" | grep -c ' agent_text ' || true)
if [ "$text" -lt 1 ]; then
    echo "no section agent_text in $1"
    exit 1
fi
if readelf -rW "$1" | grep -A 8 "'.relaagent_text'"; then
    echo "the agent's code refers to something outside itself"
    exit 1
fi
