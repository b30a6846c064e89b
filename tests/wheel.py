"""The wheel as users get it: small, quick to import, and passing the tests on every Python that is there.

python tests/wheel.py FOLDER [options of pytest]

FOLDER holds one wheel and one sdist. Every interpreter from 3.10 to 3.14 on the PATH, and under pyenv, gets
an environment of its own below FOLDER, the wheel with its extra `test`, and a run of tests/python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = [f"3.{minor}" for minor in range(10, 15)]
MOST_BYTES = 8_000_000


def interpreters() -> dict[str, Path]:
    """The interpreters that work, by version."""
    found = {}
    for version in VERSIONS:
        candidates = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        if on_path := shutil.which(f"python{version}"):
            candidates.append(Path(on_path))
        for candidate in candidates:
            asked = subprocess.run([candidate, "-c", "import ensurepip, ssl"], capture_output=True)
            if asked.returncode == 0:
                found[version] = candidate
                break
    return found


def check_files(folder: Path) -> Path:
    """One wheel for all versions, not too large; an sdist with everything that a build needs."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB")
    assert re.search(r"-cp310-abi3-", wheel.name), "one wheel for all versions"
    assert size < MOST_BYTES, f"the wheel has {size:,} bytes, more than {MOST_BYTES:,}"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"Cargo.toml", "src/lib.rs", "python/Cargo.toml", "python/nearfield/__init__.py", "README.md"}
    assert needed <= names, f"the sdist lacks {needed - names}"
    return wheel


def test_on(version: str, python: Path, wheel: Path, options: list[str]) -> bool:
    """Install the wheel into an environment of its own, and run the tests on it."""
    home = wheel.parent / f"python{version}"
    subprocess.run([python, "-m", "venv", "--clear", home], check=True)
    mine = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([mine, "-m", "pip", "install", *quiet, f"{wheel}[test]"], check=True)
    began = time.monotonic()
    done = subprocess.run([mine, "-m", "pytest", *options], cwd=ROOT)
    seconds = time.monotonic() - began
    print(f"Python {version}: {'passed' if done.returncode == 0 else 'FAILED'} in {seconds:.0f} s")
    return done.returncode == 0


def main() -> int:
    folder, options = Path(sys.argv[1]).resolve(), sys.argv[2:]
    wheel = check_files(folder)
    found = interpreters()
    for version in VERSIONS[:4]:
        if version not in found:
            print(f"SKIPPED: there is no Python {version} on this machine")
    results = [test_on(version, python, wheel, options) for version, python in found.items()]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
