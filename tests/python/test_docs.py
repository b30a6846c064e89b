"""Every Python block and every command in the README and the guides runs as it stands, page by page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nearfield.cli import main

ROOT = Path(__file__).parents[2]
# The page on other frameworks runs where these are installed: tests/integrations/test_docs.py.
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs" / "integrations.md"})]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    if not blocks:
        pytest.skip("no Python on this page")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": page.stem}
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, str(page), "exec"), names)
        else:
            run_commands(block)


def run_commands(block: str) -> None:
    """Run the lines with the command `nearfield`; what else is typed in a shell is left alone."""
    for line in re.findall(r"^\$ nearfield (.*)$", block, re.MULTILINE):
        arguments = shlex.split(line, comments=True)
        assert main(arguments) == 0, line
