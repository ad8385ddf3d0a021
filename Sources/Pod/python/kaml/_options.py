"""What to stream: one set of options for TensorFlow, PyTorch and NumPy."""

from __future__ import annotations

import ctypes
import dataclasses
import os
from collections.abc import Sequence

from ._library import CCursor, CError, Code, CStreamOptions, Error, LIBRARY, check

FORMATS = {None: 0, "tfrecord": 1, "files": 2, "tar": 3, "jsonl": 4, "fixed": 5}
ORDERS = {"sequential": 1, "shuffled": 2, "blocks": 3, "cached-first": 4}
PLANES = {None: 0, "slots": 1, "mapped": 2}


@dataclasses.dataclass(frozen=True)
class Token:
    """A place in a dataset's order: what a checkpoint holds. ``str(token)`` is what to keep.

    Attributes:
        snapshot: The dataset's version, as a whole id in hex.
        ordinal: Of the epoch's places, those before this one were given out, to all ranks together. So a run may go on
            with another number of ranks or another batch size.
    """

    snapshot: str
    seed: int
    epoch: int
    ordinal: int
    order_version: int
    order: int
    block: int = 0
    window: int = 0

    def __str__(self) -> str:
        text = ctypes.create_string_buffer(128)
        error = CError()
        check(LIBRARY.kaml_token_encode(ctypes.byref(self.cursor()), text, ctypes.byref(error)), error)
        return text.value.decode()

    @staticmethod
    def parse(text: str) -> Token:
        """Reads what ``str(token)`` wrote. Raises Error when it is damaged."""
        cursor, error = CCursor(), CError()
        check(LIBRARY.kaml_token_decode(text.encode(), ctypes.byref(cursor), ctypes.byref(error)), error)
        return Token.of(cursor)

    @staticmethod
    def of(cursor: CCursor) -> Token:
        return Token(
            cursor.snapshot.decode(),
            cursor.seed,
            cursor.epoch,
            cursor.ordinal,
            cursor.order_version,
            cursor.order,
            cursor.block,
            cursor.window,
        )

    def cursor(self) -> CCursor:
        return CCursor(
            self.snapshot.encode(),
            self.seed,
            self.epoch,
            self.ordinal,
            self.order_version,
            self.order,
            self.block,
            self.window,
        )


@dataclasses.dataclass(frozen=True)
class Options:
    """What to stream.

    Attributes:
        dataset: ``name@ref``: a branch, a tag, or the begin of a snapshot's id.
        batch_size: Records in a batch, 1 to 1,048,576.
        seed: Of the order; the same seed gives the same order.
        shard: ``(rank, world_size)``.
        columns: Names of columns; all when it is None.
        format: "tfrecord", "files", "tar", "jsonl" or "fixed"; by the files' names when it is None.
        epochs: So many, from where the stream begins (the rest of a token's epoch is the first); None goes on for ever.
        order: "shuffled", "sequential", "blocks" or "cached-first".
        paths: Only files below these paths, or that match them when they have ``*`` or ``?``.
        drop_remainder: Leaves a last batch that is not full out.
        pad_remainder: Gives ranks that would have one batch fewer than others records of the epoch's begin once more.
        record_bytes: Of one record, and before them in each file, for "fixed".
        store: A name of the agent's configuration; its default when it is None.
        resume: A token to go on from; it names the snapshot, seed and epoch.
        plane: "slots" or "mapped"; whatever is best when it is None.
        window_batches: Batches, and bytes of them, that may be out at a time; the agent's choice when they are 0.
        is_inline: Takes batches over the agent's socket even where memory can be passed to this process.
        traceparent: W3C Trace Context of the training process; the environment's TRACEPARENT when it is None.
    """

    dataset: str
    batch_size: int
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    columns: Sequence[str] | None = None
    format: str | None = None
    epochs: int | None = 1
    order: str = "shuffled"
    paths: Sequence[str] = ()
    drop_remainder: bool = False
    pad_remainder: bool = False
    record_bytes: int = 0
    header_bytes: int = 0
    store: str | None = None
    resume: str | Token | None = None
    plane: str | None = None
    window_batches: int = 0
    window_bytes: int = 0
    traceparent: str | None = None
    is_inline: bool = False

    def __post_init__(self):
        limits = {
            "batch_size": (self.batch_size, 1, 1 << 20),
            "seed": (self.seed, 0, 2**64 - 1),
            "rank": (self.shard[0], 0, self.shard[1] - 1),
            "epochs": (self.epochs if self.epochs is not None else 1, 1, 2**63 - 1),
            "record_bytes": (self.record_bytes, 0, 2**32 - 1),
            "header_bytes": (self.header_bytes, 0, 2**32 - 1),
            "window_batches": (self.window_batches, 0, 2**32 - 1),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise Error(Code.INVALID, f"{name} is {value}.", f"Give {least} to {most}.")
        for name, value, known in (("format", self.format, FORMATS), ("order", self.order, ORDERS), ("plane", self.plane, PLANES)):
            if value not in known:
                raise Error(Code.INVALID, f"There is no {name} {value!r}.", f"Give one of {', '.join(map(str, known))}.")

    @property
    def token(self) -> Token | None:
        """The token to go on from."""
        return Token.parse(self.resume) if isinstance(self.resume, str) else self.resume

    def c_options(self) -> tuple[CStreamOptions, list]:
        """The structure of libkaml, and what must live as long as it does."""

        def texts(values: Sequence[str]):
            encoded = [value.encode() for value in values]
            return (ctypes.c_char_p * len(encoded))(*encoded)

        paths, columns, token = texts(self.paths), texts(self.columns or ()), self.token
        cursor = token.cursor() if token else CCursor(seed=self.seed)
        traceparent = self.traceparent or os.environ.get("TRACEPARENT")
        options = CStreamOptions(
            size=ctypes.sizeof(CStreamOptions),
            dataset=self.dataset.encode(),
            store=self.store.encode() if self.store else None,
            paths=ctypes.cast(paths, ctypes.POINTER(ctypes.c_char_p)),
            path_count=len(paths),
            columns=ctypes.cast(columns, ctypes.POINTER(ctypes.c_char_p)),
            column_count=len(columns),
            format=FORMATS[self.format],
            record_bytes=self.record_bytes,
            header_bytes=self.header_bytes,
            batch_size=self.batch_size,
            drop_remainder=self.drop_remainder,
            pad_remainder=self.pad_remainder,
            cursor=ctypes.pointer(cursor),
            epochs=self.epochs or 0,
            order=ORDERS[self.order],
            rank=self.shard[0],
            world_size=self.shard[1],
            plane=PLANES[self.plane],
            window_batches=self.window_batches,
            window_bytes=self.window_bytes,
            traceparent=traceparent.encode() if traceparent else None,
            is_inline=self.is_inline,
        )
        return options, [paths, columns, cursor]
