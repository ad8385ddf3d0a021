"""Batches as a tf.data.Dataset, and kaml:// for TensorFlow's files.

Importing it makes ``kaml://dataset@ref/path`` known to tf.io.gfile, tf.data.TFRecordDataset and all else that reads files
through TensorFlow.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref

import numpy as np
import tensorflow as tf

from ._client import Client
from ._library import DIRECTORY
from ._options import Options, Token
from ._source import open_source
from ._stream import Column, Source, Stream

FOREVER = 2**63 - 1
DEFAULT_VIEW_LIMIT = 64 << 30


class _COptions(ctypes.Structure):
    _fields_ = [
        ("timeout_ns", ctypes.c_uint64),
        ("has_views", ctypes.c_bool),
        ("view_limit_bytes", ctypes.c_uint64),
        ("is_ragged", ctypes.c_bool),
    ]


class _CCounters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("batches", "aliased_bytes", "viewed_bytes", "copied_bytes", "streams")]


def _load():
    path = os.path.join(DIRECTORY, "libkaml_tf.so")
    module, library = tf.load_op_library(path), ctypes.CDLL(path)
    library.kaml_tf_define.argtypes = [ctypes.c_void_p, ctypes.POINTER(_COptions)]
    library.kaml_tf_define.restype = ctypes.c_int64
    library.kaml_tf_release.argtypes = [ctypes.c_int64]
    library.kaml_tf_release.restype = library.kaml_tf_stop.restype = None
    library.kaml_tf_count.argtypes = [ctypes.c_int64, ctypes.POINTER(_CCounters)]
    library.kaml_tf_count.restype = ctypes.c_bool
    tf.experimental.register_filesystem_plugin(os.path.join(DIRECTORY, "libkaml_tffs.so"))
    return module, library


_OPS, _LIBRARY = _load()
_CLIENTS: dict[tuple[int, str | None], Client] = {}


def _shared_client() -> Client:
    """One for all datasets of the process, so that what views keep mapped is mapped once."""
    key = (os.getpid(), os.environ.get("KAML_FEED_SOCKET"))
    if key not in _CLIENTS:
        _CLIENTS[key] = Client()
    return _CLIENTS[key]


# Threads of TensorFlow that wait for a batch would keep the process from ending.
atexit.register(_LIBRARY.kaml_tf_stop)


class Feed:
    """What a dataset of this module is made from: ``kaml.tf.feed_of(dataset)``.

    Attributes:
        columns: Of each batch, in order.
        records: In an epoch.
        first_steps: Batches up to the end of the first epoch, which may have begun in the middle (`resume`).
        steps: Batches of each later epoch: ``steps_per_epoch`` of Keras.
        total_steps: Of all epochs, or None for ever.
        snapshot: The dataset's version.
    """

    def __init__(self, source: Source, definition: int | None):
        self._source, self._definition = source, definition
        self.columns, self.records, self.snapshot = source.columns, source.records, source.snapshot
        self.first_steps, self.steps, self.total_steps = source.first_steps, source.steps, source.total_steps
        if definition is not None:
            self._finalizer = weakref.finalize(self, _LIBRARY.kaml_tf_release, definition)
            self._finalizer.atexit = False

    @property
    def is_direct(self) -> bool:
        """Whether batches come from the agent's memory, not from a mount."""
        return self._definition is not None

    def token(self, position: int) -> Token:
        """Where to go on once `position` batches were used: ``dataset(..., resume=str(token))``, with any number of ranks
        and any batch size. (tf.train.Checkpoint of an iterator needs none of it.)"""
        return self._source.token(position)

    def counters(self) -> dict[str, int]:
        """Batches, bytes that tensors had in common with the agent (aliased: numbers; viewed: strings), bytes copied, and
        streams that are open."""
        counters = _CCounters()
        if self._definition is not None:
            _LIBRARY.kaml_tf_count(self._definition, ctypes.byref(counters))
        return {name: getattr(counters, name) for name, _ in _CCounters._fields_}


def feed_of(dataset: tf.data.Dataset) -> Feed:
    """The feed of what `dataset` returned, or of what was made from it by map, prefetch and the like.

    Raises:
        ValueError: when there is none.
    """
    waiting = [dataset]
    while waiting:
        found = waiting.pop()
        feed = getattr(found, "_kaml_feed", None)
        if feed is not None:
            return feed
        waiting += found._inputs()
    raise ValueError("no dataset of kaml.tf.dataset")


def _define(stream: Stream, timeout: float, strings: str, view_limit: int, ragged: bool) -> int:
    options = _COptions(int(timeout * 1e9), strings == "auto" and not ragged, view_limit, ragged)
    definition = _LIBRARY.kaml_tf_define(stream.lend(), ctypes.byref(options))
    if definition < 0:
        raise MemoryError("no memory for a stream")
    return definition


def _output_types(columns: tuple[Column, ...], ragged: bool) -> list[tf.DType]:
    types = []
    for column in columns:
        if column.kind == "bytes":
            types += [tf.uint8, tf.int64] if ragged else [tf.string]
        else:
            types.append(tf.int64 if column.kind == "int64" else tf.uint8)
    return types


def _element(columns: tuple[Column, ...], tensors, batch: int | None, ragged: bool):
    """The op's outputs by column, with the shapes that are known."""
    tensors, element = list(tensors), {}
    for column in columns:
        tensor = tensors.pop(0)
        if column.kind == "bytes" and ragged:
            splits = tf.ensure_shape(tensors.pop(0), [None if batch is None else batch + 1])
            element[column.name] = tf.RaggedTensor.from_row_splits(tf.ensure_shape(tensor, [None]), splits, validate=False)
        else:
            tensor.set_shape([batch, column.width] if column.kind == "uint8" else [batch])
            element[column.name] = tensor
    return element


def _read_from_mount(source: Source, ragged: bool, timeout: float):
    """What the op does, in Python."""

    def read(position: np.int64):
        batch, tensors = source.take(int(position), timeout), []
        for column in source.columns:
            data = batch.columns[column.name]
            if column.kind != "bytes":
                tensors.append(data)
            elif ragged:
                tensors += data.pack()
            else:
                tensors.append(np.array(data.tolist(), object))
        return tensors

    return read


def dataset(
    dataset: str,
    batch_size: int,
    *,
    ragged: bool = False,
    strings: str = "auto",
    view_limit: int = DEFAULT_VIEW_LIMIT,
    as_tuple: bool = False,
    client: Client | None = None,
    mount: str | None = None,
    timeout: float = 600,
    **options,
) -> tf.data.Dataset:
    """Batches of a dataset.

    Each element is a dictionary of the columns (with `as_tuple` a tuple of them): tf.string of shape [batch] for bytes, or
    with `ragged` a tf.RaggedTensor of uint8; tf.int64 [batch]; tf.uint8 [batch, width].

    The dataset is a pure function of the position, so ``tf.train.Checkpoint(iterator=iter(ds))`` holds a few hundred bytes
    and a restored iterator goes on with the very next record. It survives a restart of the agent. Iterating it again begins
    with the first epoch again: to get a new order in each epoch of ``model.fit``, give `epochs` here as well, and
    ``steps_per_epoch=kaml.tf.feed_of(ds).steps``.

    Args:
        dataset: ``name@ref``.
        batch_size: Records in a batch.
        ragged: Values of bytes columns without strings: no copy at all, at the price of no TFRecord or image op taking it.
        strings: "auto": strings that lie in the node's cache are views of it, others are copies. The cache stays mapped
            until the process ends, since nobody can know how long a view lives. "copy": all are copies.
        view_limit: Bytes of the cache that views may keep mapped after the agent has put them aside, whose disk space is not
            free before the process ends; strings are copies beyond that.
        as_tuple: Tuples in place of dictionaries, as ``model.fit`` wants (x, y).
        client: The agent; found by itself when it is None.
        mount: Where the dataset is mounted, for when there is no agent.
        timeout: Seconds that the op waits for a batch before it fails with DeadlineExceededError.
        options: As in `kaml.Options`.

    Raises:
        kaml.Error: What is wrong, and what to do about it.
    """
    if strings not in ("auto", "copy"):
        raise ValueError(f"strings={strings!r}: give 'auto' or 'copy'")
    if ragged:
        # Values lie side by side only where the agent copies them together.
        options.setdefault("plane", "slots")
    wanted = Options(dataset, batch_size, **options)
    source = open_source(wanted, client or _shared_client, mount)
    columns, types = source.columns, _output_types(source.columns, ragged)
    batch = batch_size if wanted.drop_remainder else None
    if isinstance(source, Stream):
        definition = _define(source, timeout, strings, view_limit, ragged)
        feed = Feed(source, definition)

        def read(position):
            return _OPS.kaml_next(position, definition=definition, output_types=types)

    else:
        feed, from_mount = Feed(source, None), _read_from_mount(source, ragged, timeout)

        def read(position):
            return tf.numpy_function(from_mount, [position], types)

    def element(position):
        tensors = read(position)
        for tensor in tensors:
            if not tensor.shape.rank:
                tensor.set_shape([None] if tensor.dtype != tf.uint8 or ragged else [None, None])
        found = _element(columns, tensors, batch, ragged)
        return tuple(found.values()) if as_tuple else found

    steps = FOREVER if source.total_steps is None else source.total_steps
    made = tf.data.Dataset.range(steps).map(element)
    if source.total_steps is None:
        made = made.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    choices = tf.data.Options()
    choices.deterministic = True
    # The position is the only state, so that nothing of the op is to be saved.
    choices.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    choices.experimental_symbolic_checkpoint = True
    # Each rank asks for its own shard.
    choices.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    made = made.with_options(choices)
    made._kaml_feed = feed
    return made
