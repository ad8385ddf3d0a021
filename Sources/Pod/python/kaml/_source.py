"""Where batches come from: the agent, or else a mount of the dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

from ._client import Client
from ._library import Code, Error
from ._mount import MountSource
from ._options import Options
from ._stream import Source, Stream

_told: set[str] = set()


def tell_once(message: str) -> None:
    """Warns of something that makes feeding slower: once for each process."""
    if message not in _told:
        _told.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def mount_of(dataset: str) -> str | None:
    """Where the environment says that a dataset is mounted: KAML_MOUNTS is ``name@ref=/path,name=/path``."""
    mounts = dict(part.partition("=")[::2] for part in os.environ.get("KAML_MOUNTS", "").split(",") if "=" in part)
    return mounts.get(dataset) or mounts.get(dataset.partition("@")[0])


# The agent cannot be reached, or cannot pass memory to this process (gVisor, Kata).
_MAY_FALL_BACK = (Code.UNAVAILABLE, Code.UNSUPPORTED)


def open_source(
    options: Options, client: Client | Callable[[], Client] = Client, mount: str | None = None
) -> Source:
    """The agent's stream; or, where the agent cannot be reached, the same batches in the same order read from the dataset's
    mount: `mount`, or what KAML_MOUNTS says. The user is told once.

    Raises:
        Error: of the agent, when there is no mount either.
    """
    path = mount or mount_of(options.dataset)
    try:
        stream = Stream(options, client() if callable(client) else client)
    except Error as error:
        if path is None or error.code not in _MAY_FALL_BACK:
            raise
        tell_once(f"kaml: {options.dataset} is read from its mount {path}, which is slower than a feed: {error}")
        return MountSource(options, path)
    if stream.notice:
        tell_once(f"kaml: {stream.notice}")
    return stream
