# SPDX-License-Identifier: Apache-2.0
"""arrays.py MIB: numpy arrays of MIB megabytes each: sort, product, transform."""

import sys
import zlib

import numpy as np

n = (int(sys.argv[1]) << 20) // 8
rng = np.random.Generator(np.random.PCG64(11))
a = rng.integers(0, 1 << 62, n)
b = a[::-1].copy()
a.sort(kind="stable")
print("sorted", bool(np.all(a[:-1] <= a[1:])), zlib.crc32(a.tobytes()))
print("sum", int((a ^ b).sum()))
side = int(n ** 0.5) // 2
m = (b[: side * side] % 1000).astype(np.float64).reshape(side, side)
print("product", int((m @ m.T).sum()))
f = np.fft.rfft(b.astype(np.float64))
print("transform", f.size, bool(np.allclose(np.fft.irfft(f, n), b.astype(np.float64))))
print("end", zlib.crc32(b.tobytes()))
