"""The message queue that needs no server: one file per message under the data folder, safe across processes."""

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

from shelfops.durable import replace_whole

logger = logging.getLogger(__name__)
MESSAGE_PARTS = {"body", "headers", "properties"}


def _private_folder(path: str) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


class Channel(filesystem.Channel):
    """Differs from kombu's in three ways: writes are atomic, garbage is set aside, order survives a reboot."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue_folder = _private_folder(self.data_folder_in)
        self.claimed_folder = _private_folder(self.processed_folder)
        _private_folder(str(self.control_folder))

    def _put(self, queue: str, payload: Any, **_kwargs: Any) -> None:
        replace_whole(self.queue_folder / f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg", dumps(payload))

    def _get(self, queue: str) -> Any:
        for name in sorted(os.listdir(self.queue_folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            if (claimed := self._claim(name)) and (message := self._read(claimed)):
                return message
        raise Empty

    def _claim(self, name: str) -> Path | None:
        """Renaming is the lock: of several workers one succeeds."""
        claimed = self.claimed_folder / name
        try:
            (self.queue_folder / name).rename(claimed)
        except FileNotFoundError:
            return None
        return claimed

    def _read(self, claimed: Path) -> Any:
        try:
            message = loads(claimed.read_text(encoding="utf-8"))
            if not isinstance(message, dict) or not message.keys() >= MESSAGE_PARTS:
                raise ValueError("it lacks parts of a message")
        except ValueError as error:
            kept = claimed.rename(claimed.with_suffix(".garbage"))
            logger.error("A message file could not be read (%s); it is kept as %s.", error, kept)
            return None
        claimed.unlink()
        return message

    # --- Which queue listens to which exchange

    def get_table(self, exchange: str) -> list[Any]:
        try:
            rows = loads(self._exchange_file(exchange).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except ValueError:
            logger.error("The table of exchange %s could not be read; it is written anew.", exchange)
            return []
        return [filesystem.exchange_queue_t(*row) for row in rows]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda rows: rows if row in rows else [row, *rows])

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        virtual.Channel._delete(self, queue, *args, **kwargs)
        gone = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda rows: [row for row in rows if row != gone])

    def _change_table(self, exchange: str, change: Callable[[list[Any]], list[Any]]) -> None:
        with self._table_lock():
            rows = self.get_table(exchange)
            if (changed := change(rows)) != rows:
                replace_whole(self._exchange_file(exchange), dumps(changed))

    @contextmanager
    def _table_lock(self) -> Iterator[None]:
        with (self.control_folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """Registered as `localfs://`."""

    Channel = Channel
