"""What holds for every test: set before numpy is imported."""

from __future__ import annotations

import os

# Two test processes with a BLAS thread per core each wait for one another in busy loops: ten times as slow.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
