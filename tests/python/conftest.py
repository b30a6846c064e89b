"""Shared by all tests: asserts are explained also in the modules that pytest does not collect."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("conformance", "model", "pair", "store_fixtures")
