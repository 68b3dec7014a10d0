"""Prints the seconds that PyOD's ECOD takes on the columns of a Parquet file: pyod_ecod.py FILE THREADS.

Only the library call is timed; imports and reading are not. Exit code 3: not installed.
"""

import os
import sys
import time

path, threads = sys.argv[1:3]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = threads
try:
    import numpy as np
    import pyarrow.parquet as pq
    from pyod.models.ecod import ECOD
except ImportError:
    sys.exit(3)

table = pq.read_table(path)
columns = [name for name in table.column_names if name != "row_id"]
features = np.column_stack([table[name].to_numpy() for name in columns])
del table
start = time.perf_counter()
ECOD(n_jobs=1).fit(features)
print(time.perf_counter() - start)
