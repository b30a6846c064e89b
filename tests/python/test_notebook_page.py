"""Everything with a picture of itself, on a page that a notebook makes, as a browser shows it.

Skipped where there is no Chromium, or nbconvert is not installed. NEARFIELD_SCREENSHOTS names a folder to
keep them in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH: nothing looks at the pages")

ROWS = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def shown():
    """One of each, by name."""
    index = nf.HnswIndex(16)
    index.add(ROWS)
    store = nf.open(":memory:")
    docs = store.create_collection("papers <b>2024", 16)
    said = [{"title": f"On <i>neighbours</i>, part {n}", "year": 2000 + n % 25} for n in range(2000)]
    docs.upsert([f"paper-{n}" for n in range(2000)], ROWS, said)
    report = nf.evaluate(index, ROWS[:50], ef=[16, 64])
    yield {
        "index": index,
        "store": store,
        "collection": docs,
        "result": index.search(ROWS[:3], 5),
        "range": index.range_search(ROWS[:2], 0.9),
        "hits": docs.search(ROWS[0], 5, include=["metadata"]),
        "report": report,
    }
    store.close()


@pytest.fixture(scope="module")
def page(shown, tmp_path_factory) -> Path:
    """A notebook with one cell for each, as nbconvert writes it."""
    nbformat = pytest.importorskip("nbformat")
    nbconvert = pytest.importorskip("nbconvert")
    cells = []
    for name, thing in shown.items():
        outputs = [{"data": {"text/html": thing._repr_html_(), "text/plain": repr(thing)}, "metadata": {}}]
        outputs[0] |= {"output_type": "execute_result", "execution_count": 1}
        cells.append(nbformat.v4.new_code_cell(name, outputs=outputs, execution_count=1))
    with warnings.catch_warnings():
        # Without IPython code is coloured as plain Python, and nbconvert says so.
        warnings.simplefilter("ignore", UserWarning)
        html, _ = nbconvert.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html, encoding="utf-8")
    return path


def browse(page: Path, *options: str) -> bytes:
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    done = subprocess.run(
        [BROWSER, *quiet, profile, offline, "--virtual-time-budget=2000", *options, page.as_uri()],
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout


def test_the_page_has_a_table_for_each(page, shown):
    seen = browse(page, "--dump-dom").decode()
    tables = sum(thing._repr_html_().count("<table>") for thing in shown.values())
    assert seen.count('class="jp-RenderedHTMLCommon') >= len(shown)
    assert seen.count("<table>") == tables >= 9
    for name in ("HnswIndex", "paper-0", "2,000", "recall@10", "&lt;i&gt;neighbours&lt;/i&gt;"):
        assert name in seen, "shown, and as text"
    assert "<i>neighbours" not in seen and "papers <b>" not in seen


def test_the_page_can_be_looked_at(page):
    image = pytest.importorskip("matplotlib.image")
    browse(page, f"--screenshot={page.parent / 'page.png'}", "--window-size=1100,3200")
    pixels = image.imread(page.parent / "page.png")
    assert pixels.shape[:2] == (3200, 1100)
    dark = (pixels[..., :3].mean(axis=2) < 0.5).any(axis=1)
    assert dark[:2000].sum() > 400, "text all the way down"
    assert not (pixels[:, -20:, :3].mean(axis=2) < 0.5).any(), "no table is wider than the page"
    if folder := os.environ.get("NEARFIELD_SCREENSHOTS"):
        shutil.copy(page.parent / "page.png", folder)
