"""Importing is quick, and brings nothing along that is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nearfield as nf


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def imported(code: str) -> set[str]:
    """The modules that are there when this has run."""
    return set(python(f"import sys, {code}; print(*sys.modules, sep='\\n')").split())


def test_nothing_large_is_imported():
    loaded = imported("nearfield")
    large = {"matplotlib", "pandas", "polars", "pyarrow", "h5py", "tqdm", "sklearn", "argparse", "asyncio"}
    assert "nearfield._core" in loaded and not large & loaded
    assert not {name for name in loaded if name.startswith(("nearfield.integrations", "nearfield.cli"))}


def test_importing_brings_little_along_that_numpy_does_not():
    # How long it takes, benchmarks/startup.py tells; what it takes is a matter of modules.
    ours = ("nearfield", "numpy")
    beside = {name for name in imported("numpy, nearfield") - imported("numpy") if not name.startswith(ours)}
    assert len(beside) <= 24, sorted(beside)


def test_the_version_is_that_of_the_package():
    assert nf.__version__.count(".") == 2
    assert "__version__" in nf.__all__
    with pytest.raises(AttributeError, match="no attribute 'verson'"):
        _ = nf.verson
