"""What the site needs and the files do not: pages from the root of the repository, and links that lead to
them.

The guides and the root link to each other by path, as they lie in the repository. On the site some of these
files are pages of other names, and others are not there; links are turned to the first, and those to the
second become text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PAGES = {"ARCHITECTURE.md": "architecture.md", "FORMAT.md": "format.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie in the root."""
    root = Path(config["config_file_path"]).parent
    for name, page in PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Turn links into the repository to pages of the site, or to text."""

    def turned(link: re.Match[str]) -> str:
        text, path, anchor = link.group(1), link.group(2), link.group(3) or ""
        if not path or files.get_file_from_path(path):
            return link.group(0)
        name = path.removeprefix("../").removeprefix("docs/")
        name = "index.md" if name == "README.md" else PAGES.get(name, name)
        return f"[{text}]({name}{anchor})" if files.get_file_from_path(name) else text

    return markdown if page.file.src_uri.startswith("reference/") else LINK.sub(turned, markdown)
