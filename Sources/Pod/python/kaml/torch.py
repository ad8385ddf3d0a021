"""Batches as a torch.utils.data.IterableDataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
import torch.utils.data

from ._client import Client
from ._options import Options
from ._source import open_source
from ._stream import Batch, Memory, Values

# Columns below this are copied: they cost little, and a tensor of one would hold the whole batch.
LEAST_SHARED_BYTES = 65536


def tensor(array: np.ndarray) -> torch.Tensor:
    """A column as a tensor. A large one is the agent's memory, which nobody may write to: change a copy (``x.clone()``), since
    an operation in place would end the process."""
    if array.nbytes < LEAST_SHARED_BYTES:
        return torch.from_numpy(array.copy())
    # PyTorch has no read-only tensors, and warns of every array that is one.
    shared = np.asarray(Memory(array.ctypes.data, array.nbytes, array, is_readonly=False))
    return torch.from_numpy(shared.view(array.dtype).reshape(array.shape))


def tensors(batch: Batch) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    """A batch's columns by name: a tensor for numbers, a list of tensors of uint8, one for each record, for bytes."""
    return {
        name: _values(data) if isinstance(data, Values) else tensor(data) for name, data in batch.columns.items()
    }


def _values(values: Values) -> list[torch.Tensor]:
    packed, _ = values.pack()
    return list(torch.split(tensor(packed), values.lengths.tolist()))


class Dataset(torch.utils.data.IterableDataset):
    """Batches of a dataset, for ``torch.utils.data.DataLoader(dataset, batch_size=None)``.

    Workers of a loader share the batches: worker w of n of rank r is rank r * n + w. With one rank the loader gives the very
    batches, in the same order, that it gives without workers. ``state_dict`` and ``load_state_dict`` are what torchdata's
    StatefulDataLoader calls (in each worker), and what a loop without workers may call itself.

    Args:
        dataset: ``name@ref``.
        batch_size: Records in a batch.
        mount: Where the dataset is mounted, for when there is no agent.
        socket: The agent's; found by itself when it is None.
        timeout: Seconds to wait for a batch; for ever when it is None.
        options: As in `kaml.Options`.

    Raises:
        kaml.Error: when it is iterated: what is wrong, and what to do about it.
    """

    def __init__(
        self,
        dataset: str,
        batch_size: int,
        *,
        mount: str | None = None,
        socket: str | None = None,
        timeout: float | None = None,
        **options,
    ):
        super().__init__()
        self._options = Options(dataset, batch_size, **options)
        self._mount, self._socket, self._timeout = mount, socket, timeout
        # Of the last batch that was given out: what a state is made of.
        self._source, self._position, self._begun = None, 0, self._options
        self._state: dict | None = None

    def __iter__(self) -> Iterator[dict[str, torch.Tensor | list[torch.Tensor]]]:
        # Opened here, in the worker's process: a stream is not for use after fork.
        options = self._begun = self._resumed(self._shared())
        source = self._source = open_source(options, lambda: Client(self._socket), self._mount)
        self._position = 0
        try:
            while source.total_steps is None or self._position < source.total_steps:
                batch = source.take(self._position, self._timeout)
                self._position += 1
                # The last batch of a worker may have no records, where others have some.
                if batch.records:
                    yield tensors(batch)
        finally:
            if self._source is source:
                self._state, self._source = self.state_dict(), None
            source.close()

    def _shared(self) -> Options:
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            return self._options
        rank, world = self._options.shard
        return dataclasses.replace(
            self._options, shard=(rank * worker.num_workers + worker.id, world * worker.num_workers)
        )

    def _resumed(self, options: Options) -> Options:
        state, self._state = self._state, None
        if not state or not state["is_loaded"]:
            return options
        return dataclasses.replace(options, resume=state["token"], epochs=state["epochs"])

    def state_dict(self) -> dict:
        """Where the iteration stands: text and numbers only."""
        if self._source is None:
            return self._state or {"token": None, "epochs": None, "is_loaded": False}
        token, begin = self._source.token(self._position), self._source.token(0)
        epochs = self._begun.epochs
        left = None if epochs is None else epochs - (token.epoch - begin.epoch)
        return {"token": str(token), "epochs": left, "is_loaded": False}

    def load_state_dict(self, state: dict) -> None:
        """The next iteration goes on from there."""
        self._state = {**state, "is_loaded": state["token"] is not None}
