"""Watch what appears in a folder, in order, and put the folder back as it stood after any of those steps."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event, Thread

# As the manual page of inotify has them.
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_IS_DIRECTORY, _OVERFLOW, _GONE = 0x40000000, 0x4000, 0x8000
_HEADER = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Step:
    """One thing that happened in the folder.

    Attributes:
        kind: ``made`` a folder, ``opened`` a new file, ``closed`` it, ``moved`` or ``removed`` either.
        path: Where, from the folder on.
        target: Where to, of what moved.
        written: What was written, of files.
    """

    kind: str
    path: str
    target: str = ""
    written: Written | None = None


class Written:
    """What was written to a file, whatever became of its name since: kept under another one.

    The watch hears of a file a moment after it was made; if it was moved by then, it is looked for where it went.
    """

    def __init__(self, root: Path, kept: Path) -> None:
        self._root, self._kept = root, kept

    def keep(self, path: str) -> None:
        """Take hold of the file at its present place, unless that was done before."""
        with suppress(FileNotFoundError, FileExistsError):
            os.link(self._root / path, self._kept)

    def content(self) -> bytes:
        """The content; none where the file was removed before anybody could look."""
        return self._kept.read_bytes() if self._kept.exists() else b""


class _Watch:
    """inotify on a folder and on all below it, as they come."""

    def __init__(self, root: Path, kept: Path) -> None:
        self.steps: list[Step] = []
        self._root, self._kept, self._names = root, kept, count()
        self._folders: dict[int, str] = {}
        self._written: dict[str, Written] = {}
        self._moving: dict[int, str] = {}
        self._door = _LIBC.inotify_init1(os.O_CLOEXEC)
        assert self._door >= 0, os.strerror(ctypes.get_errno())
        self._add("", is_new=False)

    def follow(self, ended: Event) -> None:
        """Note what happens until told, and then what is still in the queue."""
        while True:
            ready = select.select([self._door], [], [], 0.05)[0]
            if ready:
                self._note(os.read(self._door, 1 << 20))
            elif ended.is_set():
                for path, written in self._written.items():
                    written.keep(path)
                os.close(self._door)
                return

    def _add(self, folder: str, *, is_new: bool) -> None:
        mask = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
        number = _LIBC.inotify_add_watch(self._door, os.fsencode(self._root / folder), mask)
        if number < 0:  # gone again already
            return
        self._folders[number] = folder
        for entry in sorted(os.scandir(self._root / folder), key=lambda entry: entry.stat().st_mtime_ns):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                if is_new:
                    self.steps.append(Step("made", path))
                self._add(path, is_new=is_new)
            elif is_new:  # came before the watch on its folder, and may have been closed before it too
                self._open(path)
                self.steps.append(Step("closed", path, written=self._written[path]))

    def _note(self, events: bytes) -> None:
        place = 0
        while place < len(events):
            number, mask, cookie, length = _HEADER.unpack_from(events, place)
            name = events[place + _HEADER.size : place + _HEADER.size + length].rstrip(b"\0").decode()
            place += _HEADER.size + length
            assert not mask & _OVERFLOW, "the queue of inotify was too short: the record has a hole"
            if mask & _GONE:
                self._folders.pop(number, None)
            elif number in self._folders:
                folder = self._folders[number]
                self._happened(f"{folder}/{name}" if folder else name, mask, cookie)

    def _happened(self, path: str, mask: int, cookie: int) -> None:
        if mask & _MOVED_FROM:
            self._moving[cookie] = path
        elif mask & _MOVED_TO:
            self._move(self._moving.pop(cookie), path)
        elif mask & _DELETE:
            self._written.pop(path, None)
            self.steps.append(Step("removed", path))
        elif mask & _IS_DIRECTORY:
            self.steps.append(Step("made", path))
            self._add(path, is_new=True)
        elif mask & _CREATE:
            self._open(path)
        elif path in self._written:
            self._written[path].keep(path)
            self.steps.append(Step("closed", path, written=self._written[path]))

    def _open(self, path: str) -> None:
        if path not in self._written:
            self._written[path] = Written(self._root, self._kept / str(next(self._names)))
            self._written[path].keep(path)
            self.steps.append(Step("opened", path, written=self._written[path]))

    def _move(self, path: str, target: str) -> None:
        moved = {old: old.replace(path, target, 1) for old in self._written if f"{old}/".startswith(f"{path}/")}
        for old, new in moved.items():
            self._written[new] = self._written.pop(old)
            self._written[new].keep(new)
        for number, folder in self._folders.items():
            if f"{folder}/".startswith(f"{path}/"):
                self._folders[number] = folder.replace(path, target, 1)
        self.steps.append(Step("moved", path, target))


@contextmanager
def recorded(root: Path, kept: Path) -> Iterator[list[Step]]:
    """The steps that happen in a folder while the block runs, complete when it has ended.

    Args:
        root: The folder.
        kept: A folder on the same disk that keeps what is written, under other names.
    """
    kept.mkdir(parents=True)
    watch, ended = _Watch(root, kept), Event()
    thread = Thread(target=watch.follow, args=(ended,))
    thread.start()
    try:
        yield watch.steps
    finally:
        ended.set()
        thread.join()


def rebuilt(base: Path, steps: Sequence[Step], place: Path) -> Path:
    """The folder as it stood when the process was killed after these steps: what was not closed is torn."""
    shutil.copytree(base, place)
    for step in steps:
        path = place / step.path
        if step.kind == "made":
            path.mkdir(parents=True, exist_ok=True)
        elif step.kind == "opened":
            whole = step.written.content() if step.written else b""
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole[: len(whole) // 2])
        elif step.kind == "closed":
            path.write_bytes(step.written.content() if step.written else b"")
        elif step.kind == "moved":
            path.replace(place / step.target)
        elif path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    return place
