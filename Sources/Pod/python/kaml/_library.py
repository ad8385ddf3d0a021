"""libkaml through ctypes: the functions and structures of kaml.h."""

from __future__ import annotations

import ctypes
import enum
import os
from ctypes import POINTER, Structure, c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

DIRECTORY = os.path.dirname(os.path.abspath(__file__))


class Code(enum.IntEnum):
    """Why a call failed; ``enum kaml_code``."""

    OK = 0
    INVALID = 1
    NOT_FOUND = 2
    DENIED = 3
    EXHAUSTED = 4
    CORRUPT = 5
    UNAVAILABLE = 6
    UNSUPPORTED = 7
    TIMED_OUT = 8
    END = 9
    CLOSED = 10
    FORKED = 11
    NO_MEMORY = 12


class Error(Exception):
    """What went wrong, and what to do about it.

    Attributes:
        code: Why.
        message: Dataset, path and cause.
        remedy: What to do.
        is_retryable: Whether the same call may succeed later.
        position: Of the batch that it is about, if it is about one.
    """

    def __init__(self, code: Code, message: str, remedy: str = "", is_retryable: bool = False, position: int | None = None):
        super().__init__(f"{message} {remedy}".strip())
        self.code, self.message, self.remedy = Code(code), message, remedy
        self.is_retryable, self.position = is_retryable, position


class CError(Structure):
    _fields_ = [
        ("code", c_int32),
        ("is_retryable", c_bool),
        ("position", c_uint64),
        ("message", c_char * 1024),
        ("remedy", c_char * 512),
    ]


class COptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("socket", c_char_p),
        ("program", c_char_p),
        ("answer_timeout_ns", c_uint64),
        ("reconnect_timeout_ns", c_uint64),
    ]


class CCursor(Structure):
    _fields_ = [
        ("snapshot", c_char * 65),
        ("seed", c_uint64),
        ("epoch", c_uint64),
        ("ordinal", c_uint64),
        ("order_version", c_uint32),
        ("order", c_uint32),
        ("block", c_uint64),
        ("window", c_uint64),
    ]


class CStreamOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("dataset", c_char_p),
        ("store", c_char_p),
        ("paths", POINTER(c_char_p)),
        ("path_count", c_size_t),
        ("columns", POINTER(c_char_p)),
        ("column_count", c_size_t),
        ("format", c_int),
        ("record_bytes", c_uint32),
        ("header_bytes", c_uint32),
        ("batch_size", c_uint32),
        ("drop_remainder", c_bool),
        ("pad_remainder", c_bool),
        ("cursor", POINTER(CCursor)),
        ("epochs", c_uint64),
        ("order", c_int),
        ("rank", c_uint32),
        ("world_size", c_uint32),
        ("plane", c_int),
        ("window_batches", c_uint32),
        ("window_bytes", c_uint64),
        ("traceparent", c_char_p),
        ("is_inline", c_bool),
    ]


class CStreamInfo(Structure):
    _fields_ = [
        ("cursor", CCursor),
        ("records", c_uint64),
        ("first_steps", c_uint64),
        ("steps", c_uint64),
        ("total_steps", c_uint64),
        ("column_count", c_size_t),
        ("window_batches", c_uint32),
        ("lends_cache", c_bool),
        ("is_inline", c_bool),
        ("notice", c_char_p),
    ]


class CColumnInfo(Structure):
    _fields_ = [("name", c_char_p), ("kind", c_int), ("width", c_uint32)]


class CCounters(Structure):
    _fields_ = [(name, c_uint64) for name in ("batches", "seeks", "reconnects", "waited_ns", "pinned_bytes")]


class CColumnData(Structure):
    _fields_ = [
        ("kind", c_int),
        ("width", c_uint32),
        ("dense", c_void_p),
        ("values", c_void_p),
        ("packed", c_void_p),
        ("offsets", c_void_p),
        ("is_mapped", c_bool),
    ]


class CAttributes(Structure):
    _fields_ = [("kind", c_int), ("bytes", c_uint64), ("modified_ns", c_int64), ("snapshot", c_char * 65)]


class COrder(Structure):
    _fields_ = [(name, c_uint64) for name in ("records", "seed", "epoch", "block", "window")]
    _fields_ += [("kind", c_uint32), ("version", c_uint32), ("keys", c_uint64 * 8)]


LISTER = ctypes.CFUNCTYPE(c_bool, c_void_p, POINTER(c_char), c_size_t, c_int)
ERROR = POINTER(CError)

KIND_BYTES, KIND_INT64, KIND_UINT8 = 1, 2, 3
FOREVER = 2**64 - 1


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(os.path.join(DIRECTORY, "libkaml.so.1"))
    signatures = {
        "kaml_version": (c_char_p, []),
        "kaml_connect": (c_int, [POINTER(COptions), POINTER(c_void_p), ERROR]),
        "kaml_close": (None, [c_void_p]),
        "kaml_token_encode": (c_int, [POINTER(CCursor), c_char_p, ERROR]),
        "kaml_token_decode": (c_int, [c_char_p, POINTER(CCursor), ERROR]),
        "kaml_stream_open": (c_int, [c_void_p, POINTER(CStreamOptions), POINTER(c_void_p), ERROR]),
        "kaml_stream_close": (None, [c_void_p]),
        "kaml_stream_clone": (c_int, [c_void_p, POINTER(c_void_p), ERROR]),
        "kaml_stream_rest": (None, [c_void_p]),
        "kaml_stream_stop": (None, [c_void_p]),
        "kaml_stream_describe": (None, [c_void_p, POINTER(CStreamInfo)]),
        "kaml_stream_column": (c_bool, [c_void_p, c_size_t, POINTER(CColumnInfo)]),
        "kaml_stream_take": (c_int, [c_void_p, c_uint64, c_uint64, POINTER(c_void_p), ERROR]),
        "kaml_stream_cursor": (c_int, [c_void_p, c_uint64, POINTER(CCursor), ERROR]),
        "kaml_stream_count": (None, [c_void_p, POINTER(CCounters)]),
        "kaml_batch_records": (c_uint32, [c_void_p]),
        "kaml_batch_is_padded": (c_bool, [c_void_p]),
        "kaml_batch_is_mapped": (c_bool, [c_void_p]),
        "kaml_batch_trace": (c_bool, [c_void_p, POINTER(c_uint8 * 16)]),
        "kaml_batch_column": (c_bool, [c_void_p, c_size_t, POINTER(CColumnData)]),
        "kaml_batch_release": (None, [c_void_p]),
        "kaml_stat": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, POINTER(CAttributes), ERROR]),
        "kaml_list": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, LISTER, c_void_p, ERROR]),
        "kaml_read": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_uint64, c_void_p, c_size_t, POINTER(c_size_t), ERROR]),
        "kaml_order_init": (c_int, [POINTER(COrder), c_uint32, c_uint32] + [c_uint64] * 5),
        "kaml_order_record": (c_uint64, [POINTER(COrder), c_uint64]),
        "kaml_order_steps": (c_uint64, [c_uint64, c_uint64, c_uint64, c_uint32, c_int]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _load()


def check(code: int, error: CError) -> None:
    """Raises what the call failed by."""
    if code == Code.OK:
        return
    raise Error(
        Code(code),
        error.message.decode(errors="replace"),
        error.remedy.decode(errors="replace"),
        bool(error.is_retryable),
        None if error.position == FOREVER else error.position,
    )
