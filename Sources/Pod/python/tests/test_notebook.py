"""The example notebook, executed from the first cell to the last."""

import os
import struct

import pytest

nbformat = pytest.importorskip("nbformat", reason="no nbclient in this environment")
nbclient = pytest.importorskip("nbclient", reason="no nbclient in this environment")
tf = pytest.importorskip("tensorflow", reason="no TensorFlow in this environment")

import conftest


def test_the_example_notebook_runs(agent, datasets, tmp_path, monkeypatch):
    """`digits` is among the datasets."""
    path = os.path.join(conftest.HERE, "..", "examples", "train.ipynb")
    monkeypatch.setenv("DATASET", "digits@main")
    monkeypatch.setenv("MOUNT", str(datasets / "digits"))
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(conftest.PACKAGE))
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "2000 records, 31 steps" in printed
