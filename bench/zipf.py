# SPDX-License-Identifier: Apache-2.0
"""Drives a redis server: fills it, then gets keys by Zipf's law (0.99), many in each message,
and compares every value."""

import bisect
import itertools
import random
import socket
import time
import zlib

from jobs import BenchError

VALUE, BATCH, EXPONENT = 1000, 64, 0.99
FILL_S = 60  # at most, until all is stored
NOISE = random.Random(3).randbytes(1 << 20)


def value(key):
    """Half of it is random: swap that compresses gets a fair share."""
    start = key * 7919 % (len(NOISE) - VALUE // 2)
    return NOISE[start:start + VALUE // 2] + b"%010d" % key * (VALUE // 20)


def message(*words):
    return b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%b\r\n" % (len(w), w) for w in words])


def connect(path, end):
    """A socket, as soon as the server answers."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            sock.settimeout(FILL_S)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def ask(sock, end, messages, expected):
    """Sends all, and compares all that comes back."""
    if time.monotonic() > end:
        raise TimeoutError
    sock.sendall(b"".join(messages))
    left, parts = len(expected), []
    while left:
        parts.append(sock.recv(left))
        if not parts[-1]:
            raise BenchError("redis closed the connection")
        left -= len(parts[-1])
    if b"".join(parts) != expected:
        raise BenchError("redis gave other bytes than were stored")


def batches(keys):
    keys = iter(keys)
    return iter(lambda: list(itertools.islice(keys, BATCH)), [])


def drawn(nr_keys, nr_gets):
    """Keys by Zipf's law, those that are drawn often apart from each other."""
    rng = random.Random(11)
    keys = list(range(nr_keys))
    rng.shuffle(keys)
    sums = list(itertools.accumulate((i + 1) ** -EXPONENT for i in range(nr_keys)))
    return [keys[bisect.bisect_left(sums, rng.random() * sums[-1])] for _ in range(nr_gets)]


def drive(path, nr_keys, keys, limit_s):
    """Seconds of the GETs, and a sum of what they gave; TimeoutError if they take limit_s."""
    end = time.monotonic() + FILL_S
    with connect(path, end) as sock:
        for some in batches(range(nr_keys)):
            ask(sock, end, [message(b"SET", b"%d" % k, value(k)) for k in some],
                b"+OK\r\n" * len(some))
        start, total = time.monotonic(), 0
        end = start + limit_s
        for some in batches(keys):
            reply = b"".join(b"$%d\r\n%b\r\n" % (VALUE, value(k)) for k in some)
            ask(sock, end, [message(b"GET", b"%d" % k) for k in some], reply)
            total = zlib.crc32(reply, total)
        seconds = time.monotonic() - start
        sock.sendall(message(b"SHUTDOWN", b"NOSAVE"))
        return seconds, f"{len(keys)} values, {total:08x}"
