# SPDX-License-Identifier: Apache-2.0
"""pool.py MIB: fork pools of worker processes over data of the parent."""

import hashlib
import multiprocessing
import random
import sys

BLOCK = 1 << 16


def make(mib):
    rng = random.Random(7)
    return [bytearray(rng.randbytes(BLOCK)) for _ in range(mib * (1 << 20) // BLOCK)]


def work(span):
    """Hashes a part of the parent's data; also changes its own copy of it."""
    h = hashlib.blake2b(digest_size=16)
    for i in range(*span):
        h.update(data[i])
        data[i][0] ^= 0xFF
        h.update(data[i])
    return h.hexdigest()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    data = make(int(sys.argv[1]))
    step = len(data) // 16
    spans = [(i, min(i + step, len(data))) for i in range(0, len(data), step)]
    for round_no in range(3):
        with multiprocessing.Pool(4) as pool:
            for line in pool.map(work, spans, chunksize=1):
                print(round_no, line)
        for i in range(round_no, len(data), 5):
            data[i][round_no + 1] ^= 0x55
    print(hashlib.blake2b(b"".join(data), digest_size=16).hexdigest())
