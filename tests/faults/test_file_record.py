"""The recorder itself: what it saw is what happened, and a folder can be put back to any moment of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.faults.file_record import rebuilt, recorded


def test_a_folder_is_put_back_to_every_moment(tmp_path: Path) -> None:
    live, base = tmp_path / "live", tmp_path / "base"
    for folder in (live, base):
        (folder / "old").mkdir(parents=True)
        (folder / "old/kept").write_text("kept")
        (folder / "old/gone").write_text("gone")
    with recorded(live, tmp_path / "kept") as steps:
        for do in (
            (live / "new").mkdir,
            (live / "new/deep").mkdir,
            lambda: (live / "new/deep/data").write_text("0123"),
            lambda: (live / "new/.commit.tmp").write_text("{}{}"),
            lambda: (live / "new/.commit.tmp").replace(live / "new/commit"),
            (live / "old/gone").unlink,
            lambda: (live / "new").rename(live / "renamed"),
            lambda: (live / "renamed/deep/more").write_text("45"),
        ):
            do()
            time.sleep(0.05)  # the watch runs in this very process

    def at(number: int) -> dict[str, str]:
        place = rebuilt(base, steps[:number], tmp_path / f"at{number}")
        held = contents(place)
        shutil.rmtree(place)
        return held

    whole = contents(live)
    assert at(len(steps)) == whole
    old = {"old/kept": "kept", "old/gone": "gone"}
    data = {"new/deep/data": "0123"}
    assert [at(number) for number in range(1, len(steps) + 1)] == [
        old,
        old,
        old | {"new/deep/data": "01"},
        old | data,
        old | data | {"new/.commit.tmp": "{}"},
        old | data | {"new/.commit.tmp": "{}{}"},
        old | data | {"new/commit": "{}{}"},
        {"old/kept": "kept"} | data | {"new/commit": "{}{}"},
        {"old/kept": "kept", "renamed/deep/data": "0123", "renamed/commit": "{}{}"},
        {"old/kept": "kept", "renamed/deep/data": "0123", "renamed/commit": "{}{}", "renamed/deep/more": "4"},
        whole,
    ]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
