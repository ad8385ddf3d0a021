"""Batches of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator

from ._client import Client
from ._options import Options, Token
from ._source import open_source
from ._stream import Batch, Source


class Batches:
    """An iterator of batches, each a `kaml.Batch` of arrays by column: `batch.columns["label"]`.

    Arrays are the agent's memory as long as not too many batches are kept; they are read-only.

    Attributes:
        position: Of the batch that comes next.
        source: What they come from; its `columns`, `records`, `steps` and `total_steps` tell what there is.
    """

    def __init__(self, source: Source, timeout: float | None = None):
        self.source, self.position, self._timeout = source, 0, timeout

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self.source.total_steps is not None and self.position >= self.source.total_steps:
            raise StopIteration
        batch = self.source.take(self.position, self._timeout)
        self.position += 1
        return batch

    def token(self) -> Token:
        """Where to go on from here: ``batches(..., resume=str(token))``."""
        return self.source.token(self.position)

    def close(self) -> None:
        """Ends the stream; batches that were taken stay valid."""
        self.source.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def batches(
    dataset: str,
    batch_size: int,
    *,
    client: Client | None = None,
    mount: str | None = None,
    timeout: float | None = None,
    **options,
) -> Batches:
    """Batches of a dataset.

    Args:
        dataset: ``name@ref``.
        batch_size: Records in a batch.
        client: The agent; found by itself when it is None.
        mount: Where the dataset is mounted, for when there is no agent.
        timeout: Seconds to wait for a batch; for ever when it is None.
        options: As in `kaml.Options`.

    Raises:
        kaml.Error: What is wrong, and what to do about it.
    """
    return Batches(open_source(Options(dataset, batch_size, **options), client or Client, mount), timeout)
