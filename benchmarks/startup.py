#!/usr/bin/env python3
"""How long `import nearfield` takes, in fresh processes, beside what importing NumPy takes.

Processor time of the process alone, so that others at work count little. Bytecode is compiled before, as
pip does when it installs a wheel, and kept aside: a source tree may forbid Python to keep it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median

MEASURE = """
import time
began = time.process_time()
import numpy
between = time.process_time()
import nearfield
print((between - began) * 1000, (time.process_time() - between) * 1000)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=20, help="fresh processes (20)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as cache:
        import_times(cache)
        times = [import_times(cache) for _ in range(options.repeat)]
    for name, column in zip(("numpy", "nearfield, beside it"), zip(*times, strict=True), strict=True):
        print(f"{name:<22} {median(column):6.1f} ms ({min(column):.1f}-{max(column):.1f})")


def import_times(cache: str) -> tuple[float, float]:
    """Milliseconds for NumPy and, after it, for Nearfield; `cache` is where bytecode is kept."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = cache
    told = subprocess.run(
        [sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=True
    ).stdout
    of_numpy, of_nearfield = map(float, told.split())
    return of_numpy, of_nearfield


if __name__ == "__main__":
    main()
