"""Cells, run one after the other in a real Jupyter kernel."""

from __future__ import annotations

import os
from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[2]


def execute(notebook: nbformat.NotebookNode, *, allow_errors: bool = False) -> None:
    """Run all cells of a notebook in a kernel of its own; what they give stands in the notebook then.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed, and errors are not allowed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    client = nbclient.NotebookClient(notebook, timeout=300, allow_errors=allow_errors)
    client.execute(cwd=str(ROOT), env=environment)


def run_cells(*sources: str) -> list[str]:
    """What each cell prints, or the error that it ends with."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    execute(notebook, allow_errors=True)
    return [_text(cell) for cell in notebook.cells]


def _text(cell: nbformat.NotebookNode) -> str:
    return "".join(
        output["text"] if output["output_type"] == "stream" else f"{output['ename']}: {output['evalue']}"
        for output in cell["outputs"]
        if output["output_type"] in ("stream", "error") and output.get("name") != "stderr"
    )
