"""Where and from what a record was measured. A figure without its machine is an anecdote."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "asimd", "sve")


@dataclass(frozen=True)
class Limits:
    """What one thread can do at most, whatever the library."""

    memory_gb_s: float  # reading 1 GiB, which no cache holds
    cache_gb_s: float  # reading 8 MiB again and again
    gflop_s: float  # multiply-adds of float32, each counted as two

    def with_best_of(self, other: Limits) -> Limits:
        return Limits(
            max(self.memory_gb_s, other.memory_gb_s),
            max(self.cache_gb_s, other.cache_gb_s),
            max(self.gflop_s, other.gflop_s),
        )


def measure_limits() -> Limits | None:
    """What `limits.rs` finds out, in a few seconds; the first time it is compiled. None without cargo."""
    manifest = Path(__file__).parents[1] / "Cargo.toml"
    told = _output("cargo", "bench", "--quiet", "--bench", "limits", "--manifest-path", str(manifest))
    return Limits(**json.loads(told)) if told else None


def describe_machine() -> dict[str, Any]:
    cpuinfo = _text("/proc/cpuinfo")
    flags = set(_field(cpuinfo, "flags|Features").split())
    return {
        "cpu": _field(cpuinfo, "model name") or platform.processor(),
        "cpu_family_model": f"{_field(cpuinfo, 'cpu family')}/{_field(cpuinfo, 'model')}",
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "cache": _field(cpuinfo, "cache size"),
        "memory": _field(_text("/proc/meminfo"), "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def describe_commit() -> str | None:
    """The commit this harness stands at, marked when the tree has changes it does not tell of."""
    here = Path(__file__).parent
    commit = _output("git", "-C", str(here), "rev-parse", "HEAD")
    if commit is None:
        return None
    others = (":/", ":(exclude,top)benchmarks/record")  # a record that was just written changes no result
    return commit + (
        "-dirty" if _output("git", "-C", str(here), "status", "--porcelain", "--", *others) else ""
    )


def command_line() -> list[str]:
    """As it was typed, but without the folders of absolute paths, which tell of a person, not a result."""
    return [re.sub(r"(^|[=,])/[^,]*/", r"\1", argument) for argument in sys.argv]


def _field(text: str, name: str) -> str:
    match = re.search(rf"^(?:{name})\s*:\s*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
