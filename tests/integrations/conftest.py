"""What frameworks want to be told before they are imported."""

from __future__ import annotations

import os

os.environ["LOG_FILE"] = os.devnull  # VectorDBBench opens a log where it is imported, unless it has another
os.environ["SCIPY_ARRAY_API"] = "1"  # or scikit-learn leaves one of its checks out
