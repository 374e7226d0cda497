# SPDX-License-Identifier: Apache-2.0
"""Job control in an interactive shell on a real terminal."""

import os
import pty
import re
import select
import signal
import sys
import termios
import time

from rmemtest import Case, RMEM, main, python

# One process: a shell that is stopped between vfork and exec of a command is
# not stopped itself, with or without rmem. It works until it is told to end.
WORK = ("import os, sys, time\n"
        "if sys.argv[1:] == ['work']:\n"
        "    print('READ' + 'Y', flush=True)\n"
        "    end = time.monotonic() + 60\n"
        "    while not os.path.exists(sys.argv[0] + '.end') and time.monotonic() < end:\n"
        "        time.sleep(0.01)\n"
        "    print('DO' + 'NE', flush=True)\n"
        "    sys.exit(5)\n"
        "if sys.argv[1:] == ['leave']:\n"
        "    os.setpgid(0, 0)\n")
COUNT = ("import signal, sys, time\n"
         "n = [0]\n"
         "def on(*_):\n"
         "    n[0] += 1\n"
         "signal.signal(signal.SIGINT, on)\n"
         "print('READ' + 'Y', flush=True)\n"
         "t = time.monotonic() + 1.0\n"
         "while time.monotonic() < t: time.sleep(0.05)\n"
         "print('INTS', n[0], flush=True)\n")


class Shell:
    """bash on a terminal of its own."""

    def __init__(self, env):
        self.text = ""
        self.pid, self.fd = pty.fork()
        # No line editor: the kernel echoes a line as it was sent, however long it is.
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"],
                       dict(env, PS1="PROM" + "PT> ", PROMPT_COMMAND="", TERM="dumb",
                            HISTFILE="/dev/null"))
        self.expect("PROMPT> ")

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=10.0):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {self.text!r}")
            self.text += os.read(self.fd, 4096).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def line(self, text):
        """Runs a line, returns its output up to the next prompt."""
        self.send(text + "\n")
        self.expect(re.escape(text[-20:]) + r"\s")
        return self.expect(r"(?s)(.*?)PROMPT> ").group(1)

    def close(self):
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.fd)
        end = time.monotonic() + 5
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)


class Terminal(Case):
    def setUp(self):
        super().setUp()
        self.sh = Shell(self.env)
        self.rmem = f"{RMEM} run --server ram --"
        self.script = "/tmp/rmem-cli-" + self.tag
        with open(self.script, "w", encoding="utf-8") as f:
            f.write(WORK + COUNT)

    def tearDown(self):
        self.sh.close()
        for path in (self.script, self.script + ".end"):
            if os.path.exists(path):
                os.unlink(path)
        super().tearDown()

    def end_work(self):
        with open(self.script + ".end", "w", encoding="utf-8"):
            pass

    def status(self):
        # Marked: a shell may still say "[1]+ Terminated" of an earlier job.
        self.sh.send("echo STA''TUS=$?=\n")
        return int(self.sh.expect(r"STATUS=(\d+)=").group(1))

    def test_interrupt_ends_the_job(self):
        self.sh.send(f"{self.rmem} sh -c 'echo READ''Y; exec sleep 60'\n")
        self.sh.expect("READY")
        time.sleep(0.1)
        self.sh.send("\x03")
        self.sh.expect("PROMPT> ")
        self.assertEqual(self.status(), 130)

    def test_interrupt_reaches_the_job_once(self):
        self.sh.send(f"{self.rmem} {sys.executable} {self.script}\n")
        self.sh.expect("READY")
        self.sh.send("\x03")
        self.assertEqual(self.sh.expect(r"INTS (\d+)").group(1), "1")
        self.sh.expect("PROMPT> ")
        self.assertEqual(self.status(), 0)

    def test_interrupt_is_not_passed_on_to_another_group(self):
        self.sh.send(f"{self.rmem} {sys.executable} {self.script} leave\n")
        self.sh.expect("READY")
        self.sh.send("\x03")
        self.assertEqual(self.sh.expect(r"INTS (\d+)").group(1), "0")
        self.sh.expect("PROMPT> ")

    def test_interrupt_ends_a_script_as_well(self):
        job = f"{self.rmem} sh -c \"echo READ\"\"Y; exec sleep 60\""
        self.sh.send(f"bash -c '{job}; echo GO''ES ON'\n")
        self.sh.expect("READY")
        time.sleep(0.1)
        self.sh.send("\x03")
        after = self.sh.expect(r"(?s)(.*?)PROMPT> ").group(1)
        self.assertNotIn("GOES ON", after)

    def test_quit_ends_the_job(self):
        self.sh.send(f"{self.rmem} sh -c 'ulimit -c 0; echo READ''Y; exec sleep 60'\n")
        self.sh.expect("READY")
        time.sleep(0.1)
        self.sh.send("\x1c")
        self.sh.expect("PROMPT> ")
        self.assertEqual(self.status(), 131)

    def test_stop_and_foreground(self):
        self.sh.send(f"{self.rmem} {sys.executable} {self.script} work\n")
        self.sh.expect("READY")
        for _ in range(3):
            self.sh.send("\x1a")
            self.sh.expect("Stopped")
            self.sh.expect("PROMPT> ")
            self.assertIn("Stopped", self.sh.line("jobs"))
            self.sh.send("fg\n")
            self.sh.expect("run --server")
            time.sleep(0.05)
        self.end_work()
        self.sh.expect("DONE")
        self.sh.expect("PROMPT> ")
        self.assertEqual(self.status(), 5)

    def test_stop_and_background(self):
        self.sh.send(f"{self.rmem} {sys.executable} {self.script} work\n")
        self.sh.expect("READY")
        self.sh.send("\x1a")
        self.sh.expect("Stopped")
        self.sh.send("bg\n")
        self.end_work()
        self.sh.expect("DONE")
        self.sh.send("wait\n")
        self.sh.expect("PROMPT> ")

    def test_background_job_that_reads_stops_and_can_be_continued(self):
        self.sh.send(f"{self.rmem} sh -c 'read x; echo GO''T $x' &\n")
        self.sh.expect("PROMPT> ")
        for _ in range(50):
            if "Stopped" in self.sh.line("jobs"):
                break
            time.sleep(0.1)
        self.sh.send("fg\n")
        self.sh.expect("run --server")
        self.sh.send("hello\n")
        self.sh.expect("GOT hello")
        self.sh.expect("PROMPT> ")

    def test_terminal_is_left_as_it_was(self):
        before = termios.tcgetattr(self.sh.fd)
        self.sh.line(f"{self.rmem} true")
        self.assertEqual(termios.tcgetattr(self.sh.fd), before)

    def test_prints_from_the_background_under_tostop(self):
        self.sh.line("stty tostop")
        self.sh.send(f"{RMEM} run --server ram --summary true > /dev/null &\n")
        self.sh.expect("exit status")
        self.sh.line("wait")
        self.sh.line("stty -tostop")

    def test_nested_interactive_shell(self):
        self.sh.send(f"{self.rmem} bash --norc --noprofile --noediting -i\n")
        self.sh.expect("PROMPT> ")
        self.sh.send("sh -c 'echo SLE''EPS; exec sleep 60'\n")
        self.sh.expect("SLEEPS")
        time.sleep(0.1)
        self.sh.send("\x1a")
        self.sh.expect("Stopped")
        self.sh.expect("PROMPT> ")
        # A shell that takes it for stopped yet would not exit.
        self.sh.line('kill %1; while [ -n "$(jobs -s)" ]; do sleep 0.05; done; wait')
        self.sh.send("exit 7\n")
        self.sh.expect("PROMPT> ")
        self.assertEqual(self.status(), 7)

    def test_interrupt_before_the_job_is_there_leaves_nothing(self):
        for delay in (0, 0.002, 0.005):
            self.sh.send(f"{self.rmem} sleep 60\n")
            self.sh.expect("sleep 60")
            time.sleep(delay)
            self.sh.send("\x03")
            time.sleep(0.3)
            self.sh.send("\x03")  # one prompt for each, or one for both
            time.sleep(0.2)
            self.sh.send("\n")  # an interrupted bash may lose the first character
            time.sleep(0.2)
            self.sh.send("echo SET''TLED\n")
            self.sh.expect("SETTLED")
            self.sh.expect("PROMPT> ")
        self.nothing_but_the_shell()

    def nothing_but_the_shell(self):
        self.assertNotIn("run", self.sh.line("jobs"))


if __name__ == "__main__":
    main()
