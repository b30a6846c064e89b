"""Every registered index, under every metric, against the naive model."""

from __future__ import annotations

import pytest
from conformance import REGISTRY, IndexConformance
from model import METRICS
from pair import Candidate


@pytest.fixture(params=REGISTRY, ids=lambda candidate: candidate.name)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    return request.param


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest, candidate: Candidate) -> str:
    if request.param not in candidate.metrics:
        pytest.skip("no metric of this index")
    return request.param


class TestIndexes(IndexConformance):
    """All of the suite."""
