# SPDX-License-Identifier: Apache-2.0
"""kmeans.py MIB ROUNDS: scikit-learn's k-means on MIB MiB of points, 64 numbers each, around
ten centres."""

import sys
import zlib

import numpy as np
from sklearn.cluster import KMeans

rng = np.random.default_rng(7)
at = rng.random((10, 64))
points = rng.random(((int(sys.argv[1]) << 20) // 512, 64))
for first in range(0, len(points), 1000):
    part = points[first:first + 1000]
    part += at[rng.integers(0, 10, len(part))]
found = KMeans(10, init=points[:10].copy(), n_init=1, max_iter=int(sys.argv[2]), tol=0,
               copy_x=False, algorithm="lloyd").fit(points)
print(f'"{found.n_iter_} rounds, {zlib.crc32(found.cluster_centers_.tobytes()):08x}"')
