"""Adapters where their frameworks are not installed; tests/integrations is for where they are."""

from __future__ import annotations

import importlib
import sys

import pytest

FRAMEWORKS = {
    "langchain": ("langchain_core", "langchain"),
    "haystack": ("haystack", "haystack"),
    "llama_index": ("llama_index", "llama-index"),
    "sklearn": ("sklearn", "sklearn"),
    "vectordbbench": ("vectordb_bench", "vectordbbench"),
}


def import_without(framework: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == framework]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    importlib.import_module(module)


@pytest.mark.parametrize("adapter", FRAMEWORKS)
def test_a_missing_framework_is_named_with_its_extra(adapter, monkeypatch):
    framework, extra = FRAMEWORKS[adapter]
    with pytest.raises(ImportError, match=rf"pip install 'nearfield\[{extra}\]'"):
        import_without(framework, f"nearfield.integrations.{adapter}", monkeypatch)


def test_ann_benchmarks_is_no_package(monkeypatch):
    with pytest.raises(ImportError, match="from a checkout"):
        import_without("ann_benchmarks", "nearfield.integrations.ann_benchmarks.module", monkeypatch)
