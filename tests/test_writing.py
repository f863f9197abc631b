"""A file is complete or not there, and what killed processes leave is removed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probing.errors import InputError
from probing.results.writing import (
    is_temporary,
    remove_abandoned,
    write_bytes,
    write_text,
    written_aside,
)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    write_text(path, "−4.7\n")
    assert path.read_bytes() == "−4.7\n".encode()
    write_bytes(path, b"ab", memoryview(b"cd"))
    assert path.read_bytes() == b"abcd"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_synced_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "scores.csv", []

    def synced(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", synced)
    write_text(path, "twelve bytes")
    assert seen == [(12, False)]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores.csv cannot be written \(.*make room") as caught:
        write_text(tmp_path / "absent" / "scores.csv", "new")
    assert "\n" not in str(caught.value)


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    names = {
        f".{host}.{ended.pid}.0123abcd.tmp": False,  # of a process that is gone
        f".{host}.{os.getpid()}.0123abcd.tmp": True,  # being written
        f".elsewhere.{ended.pid}.0123abcd.tmp": True,  # of another machine, lately
        ".elsewhere.1.89abcdef.tmp": False,  # of another machine, two hours ago
        ".notes.tmp": True,  # not ours
    }
    for name in names:
        (tmp_path / name).write_text("half")
    old = tmp_path / ".elsewhere.1.89abcdef.tmp"
    os.utime(old, (old.stat().st_mtime - 7200,) * 2)
    assert [is_temporary(tmp_path / name) for name in names] == [True, True, True, True, False]
    remove_abandoned(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_what_a_process_of_another_user_writes_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f".{socket.gethostname()}.1234.ab12.tmp"
    path.touch()

    def refused(process: int, signal: int) -> None:
        assert (process, signal) == (1234, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    remove_abandoned(tmp_path)
    assert path.exists()
