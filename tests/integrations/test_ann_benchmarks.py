"""ann-benchmarks: it is no package and has no suite, so its runner is played here, with our configuration."""

from __future__ import annotations

import importlib
import itertools
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

import nearfield as nf
from nearfield.integrations import ann_benchmarks

CONFIG = yaml.safe_load((Path(ann_benchmarks.__file__).parent / "config.yml").read_text())


@pytest.fixture
def runner(monkeypatch):
    """The modules of a checkout, with nothing in the class that all algorithms must have as their base."""
    names = ["ann_benchmarks", "ann_benchmarks.algorithms", "ann_benchmarks.algorithms.base"]
    for name in [*names, f"{names[-1]}.module"]:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    base = type("BaseANN", (), {"done": lambda self: None, "__str__": lambda self: self.name})
    sys.modules[f"{names[-1]}.module"].BaseANN = base
    monkeypatch.delitem(sys.modules, "nearfield.integrations.ann_benchmarks.module", raising=False)
    yield base
    sys.modules.pop("nearfield.integrations.ann_benchmarks.module", None)


def definitions(kind, metric):
    """What the runner makes of a configuration: a constructor, its arguments, and those of its queries."""
    for entry in CONFIG[kind].get("any", CONFIG[kind].get(metric)):
        for group in entry["run_groups"].values():
            choices = group.get("arg_groups", [{}])[0]
            lists = [value if isinstance(value, list) else [value] for value in choices.values()]
            combined = [dict(zip(choices, one, strict=True)) for one in itertools.product(*lists)]
            for options in combined:
                arguments = [metric, *([options] if options else [])]
                yield entry, arguments, group.get("query_args", [[]])[0]


def play(base, entry, arguments, query_arguments, rows, queries):
    """Fit, vary, ask one by one and all at once, as the runner does; the best recall of all."""
    module = importlib.import_module(f"{entry['module']}.module")
    algorithm = getattr(module, entry["constructor"])(*arguments)
    assert isinstance(algorithm, base)
    before = algorithm.get_memory_usage()
    algorithm.fit(rows)
    assert algorithm.get_memory_usage() > before
    metric = {"angular": "cosine", "euclidean": "l2", "hamming": "hamming"}[arguments[0]]
    packed = (lambda bits: np.packbits(bits, axis=1)) if metric == "hamming" else (lambda rows: rows)
    truth = nf.exact_neighbors(packed(rows), packed(queries), 10, metric).ids
    recalls = []
    for value in query_arguments or [None]:
        if value is not None:
            algorithm.set_query_arguments(value)
            assert str(value) in str(algorithm)
        single = np.array([algorithm.query(query, 10) for query in queries])
        algorithm.batch_query(queries, 10)
        assert np.array_equal(single, algorithm.get_batch_results())
        recalls.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(single, truth, strict=True)]))
    algorithm.done()
    assert str(algorithm).startswith("Nearfield")
    return recalls


@pytest.mark.parametrize("metric", ["angular", "euclidean"])
def test_every_definition_of_numbers_runs(runner, metric):
    rng = np.random.default_rng(0)
    rows, queries = (rng.standard_normal((n, 24)).astype(np.float32) for n in (1500, 20))
    played = 0
    for entry, arguments, query_arguments in definitions("float", metric):
        recalls = play(runner, entry, arguments, query_arguments, rows, queries)
        assert recalls[-1] > 0.95 and recalls[-1] >= recalls[0]
        played += 1
    assert played == 3 * 2 + 3 + 1


def test_every_definition_of_bits_runs(runner):
    rng = np.random.default_rng(0)
    rows, queries = rng.random((1500, 64)) < 0.5, rng.random((20, 64)) < 0.5
    for definition in definitions("bit", "hamming"):
        assert play(runner, *definition, rows, queries) == [1.0]


def test_an_unknown_metric_is_refused(runner):
    module = importlib.import_module("nearfield.integrations.ann_benchmarks.module")
    with pytest.raises(ValueError, match="jaccard"):
        module.Flat("jaccard")
