"""Datasets from the node's KAML-D agent, in the training process.

    kaml.tf.dataset("imagenet@v2", batch_size=256)     a tf.data.Dataset
    kaml.torch.Dataset("imagenet@v2", batch_size=256)  an IterableDataset
    kaml.numpy.batches("imagenet@v2", batch_size=256)  an iterator of batches of NumPy arrays
    kaml.Client().read("imagenet@v2", "train/0.jpg")   files

The submodules are imported when they are first used, so that only what is used need be installed.
"""

from __future__ import annotations

import importlib

from ._client import Attributes, Client
from ._library import LIBRARY, Code, Error
from ._options import Options, Token
from ._source import open_source
from ._stream import Batch, Column, Stream, Values

__version__ = LIBRARY.kaml_version().decode()
__all__ = ["Attributes", "Batch", "Client", "Code", "Column", "Error", "Options", "Stream", "Token", "Values", "open_source"]


def __getattr__(name: str):
    if name in ("tf", "torch", "numpy"):
        return importlib.import_module(f"kaml.{name}")
    raise AttributeError(f"module 'kaml' has no attribute {name!r}")
