# SPDX-License-Identifier: Apache-2.0
"""What bash would offer, from dist/completion.bash as it is, in a real bash."""

import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
COMPLETION = os.path.join(HERE, "..", "..", "dist", "completion.bash")
# Debian's package bash-completion; the file has to do without it too.
LIBRARY = "/usr/share/bash-completion/bash_completion"

SCRIPT = """
[ -z "$LIBRARY" ] || source "$LIBRARY"
source "$COMPLETION"
mapfile -t COMP_WORDS <<<"$WORDS"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$LINE COMP_POINT=${#LINE} COMPREPLY=()
_rmem "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""


def split(line):
    """As readline does it: at blanks, and around each ':' and '='."""
    words = re.findall(r"[^\s:=]+|[:=]+", line)
    return words + [""] if not line or line[-1].isspace() else words


def complete(line, library=False, **env):
    """The replies, with what bash keeps of the last word put back in front."""
    env = dict(os.environ, LINE=line, WORDS="\n".join(split(line)), COMPLETION=COMPLETION,
               LIBRARY=LIBRARY if library else "", LC_ALL="C", **env)
    p = subprocess.run(["bash", "--norc", "--noprofile", "-c", SCRIPT], env=env, timeout=30,
                       capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    complaints = [x for x in p.stderr.splitlines()
                  if "compopt: not currently executing completion function" not in x]
    if complaints:
        raise AssertionError(f"completing '{line}': {complaints}")
    last = re.findall(r"\S*$", line)[0]
    kept = last[:len(last) - len(re.findall(r"[^:=]*$", last)[0])]
    return [kept + reply for reply in p.stdout.splitlines()]
