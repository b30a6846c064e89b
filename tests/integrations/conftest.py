"""VectorDBBench opens a log where it is imported, unless it is told to leave that."""

from __future__ import annotations

import os

os.environ["LOG_FILE"] = os.devnull
