"""Importing is quick, and brings nothing along that is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nearfield as nf

MEASURE = """
import time, numpy
began = time.process_time()  # of this process alone: others may be at work
import nearfield
print((time.process_time() - began) * 1000)
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_takes_less_than_50_ms_beside_numpy():
    times = []
    while len(times) < 20 and min(times, default=50) >= 50:
        times.append(float(python(MEASURE)))
    assert min(times) < 50, times


def test_nothing_large_is_imported():
    loaded = set(python("import sys, nearfield; print(*sys.modules, sep='\\n')").split())
    large = {"matplotlib", "pandas", "polars", "pyarrow", "h5py", "tqdm", "sklearn", "argparse", "asyncio"}
    assert "nearfield._core" in loaded and not large & loaded
    assert not {name for name in loaded if name.startswith(("nearfield.integrations", "nearfield.cli"))}


def test_the_version_is_that_of_the_package():
    assert nf.__version__.count(".") == 2
    assert "__version__" in nf.__all__
    with pytest.raises(AttributeError, match="no attribute 'verson'"):
        _ = nf.verson
