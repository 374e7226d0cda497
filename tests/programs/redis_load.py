# SPDX-License-Identifier: Apache-2.0
"""redis_load.py DIR KEYS: starts redis-server, loads it, saves in the background
while values change, loads the file into a second server and compares."""

import os
import random
import socket
import subprocess
import sys
import time

VALUE, BATCH = 3000, 500


class Client:
    def __init__(self, path):
        for _ in range(600):
            try:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.connect(path)
                break
            except OSError:
                self.sock.close()
                time.sleep(0.1)
        self.file = self.sock.makefile("rb")

    def send(self, *args):
        out = b"*%d\r\n" % len(args)
        for a in args:
            a = a if isinstance(a, bytes) else str(a).encode()
            out += b"$%d\r\n%s\r\n" % (len(a), a)
        return out

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self.file.read(n + 2)[:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest

    def call(self, *args):
        self.sock.sendall(self.send(*args))
        return self.reply()

    def many(self, commands):
        self.sock.sendall(b"".join(self.send(*c) for c in commands))
        return [self.reply() for _ in commands]


def server(folder, name):
    path = os.path.join(folder, name + ".sock")
    args = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "",
            "--dbfilename", "dump.rdb", "--daemonize", "no",
            "--loglevel", "warning", "--logfile", "/dev/null", "--enable-debug-command", "yes"]
    proc = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = Client(path)
    while True:
        try:
            client.call("PING")
            return proc, client
        except RuntimeError:  # still loading
            time.sleep(0.05)


def value(rng):
    return rng.randbytes(VALUE // 2).hex().encode()


def fill(client, rng, keys):
    for first in range(0, keys, BATCH):
        client.many([("SET", f"key:{i}", value(rng)) for i in range(first, first + BATCH)])


def stop(proc, client):
    try:
        client.call("SHUTDOWN", "NOSAVE")
    except (RuntimeError, OSError, ValueError):
        pass
    return proc.wait(60)


def run(folder, keys):
    rng = random.Random(3)
    proc, c = server(folder, "first")
    fill(c, rng, keys)
    before = c.call("DEBUG", "DIGEST")
    print("loaded", c.call("DBSIZE"), before.decode())
    c.call("BGSAVE")
    for _ in range(40):  # changes while the child saves
        c.many([("SET", f"key:{rng.randrange(keys)}", value(rng)) for _ in range(100)])
    while b"rdb_bgsave_in_progress:1" in c.call("INFO", "persistence"):
        time.sleep(0.05)
    saved = b"rdb_last_bgsave_status:ok" in c.call("INFO", "persistence")
    print("saved", saved, c.call("DEBUG", "DIGEST").decode())
    again, d = server(folder, "second")
    print("reloaded", d.call("DBSIZE"), d.call("DEBUG", "DIGEST") == before)
    print("ended", stop(again, d), stop(proc, c))
    os.unlink(os.path.join(folder, "dump.rdb"))


run(sys.argv[1], int(sys.argv[2]))
