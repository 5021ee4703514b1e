"""The notebooks of this repository run from top to bottom, and stand here without their outputs."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests.notebooks.kernel import ROOT, execute, run_cells

pytestmark = pytest.mark.filterwarnings("default")  # those of Jupyter's own packages

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGE = ROOT / "docs" / "how-to" / "notebooks.md"


def test_there_are_notebooks() -> None:
    assert "backoff.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_in_the_one_form_that_gives_small_differences(path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell["cell_type"] != "code" or (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]
        assert cell["metadata"] == {}, cell["id"]
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asserts_what_it_claims_and_draws_its_charts(path) -> None:
    notebook = nbformat.read(path, as_version=4)
    execute(notebook)
    cells = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert sum("assert " in cell["source"] for cell in cells) >= 2
    for cell in cells:
        if "plt.subplots" in cell["source"]:
            assert any("image/png" in output.get("data", {}) for output in cell["outputs"]), cell["id"]


def test_the_cells_of_the_page_on_notebooks_do_as_it_says() -> None:
    blocks = re.findall(r"<!-- cell -->\n```python\n(.+?)```\n(?:\n```text\n(.+?)```\n)?", PAGE.read_text(), re.S)
    assert len(blocks) >= 5
    assert run_cells(*(source for source, _ in blocks)) == [shown for _, shown in blocks]
