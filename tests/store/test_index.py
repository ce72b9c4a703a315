"""What was seen of a file holds until the file changes, however cleverly."""

import os
import subprocess
import sys
from pathlib import Path

from phibuild.model.digest import Digest
from phibuild.store import Index


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    path = tmp_path / "file"
    path.write_text("one")
    assert index.digest_of(path) == Digest.of(b"one")
    assert index.recall(path, "digest") == str(Digest.of(b"one"))
    path.write_text("two")
    assert index.recall(path, "digest") is None
    assert index.digest_of(path) == Digest.of(b"two")


def test_a_change_under_a_kept_time_is_found(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    path = tmp_path / "file"
    path.write_text("one")
    index.digest_of(path)
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert index.digest_of(path) == Digest.of(b"two")


def test_what_was_learnt_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    first = Index(tmp_path / "index.sqlite")
    first.digest_of(path)
    first.close()
    assert Index(tmp_path / "index.sqlite").recall(path, "digest") == str(Digest.of(b"one"))


def test_processes_that_create_it_at_once_all_have_it(tmp_path: Path) -> None:
    """SQLite fails about once in some hundred of these if nobody waits."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from phibuild.store import Index\n"
        "sys.stdin.readline()\n"
        "for number in range(200): Index(Path(sys.argv[1], str(number)))\n"
    )
    command = [sys.executable, "-c", program, tmp_path]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
    assert [process.wait(timeout=120) for process in started] == [0] * 4


def test_one_that_breaks_in_the_middle_is_replaced(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    index.record_items("digest", {"a": "b"})
    index.close()
    index = Index(tmp_path / "index.sqlite")
    for path in tmp_path.glob("index.sqlite*"):
        path.write_bytes(os.urandom(40_000))
    assert index.items_of("digest") in (None, {"a": "b"})  # SQLite may still have the page
    index.record_items("other", {"c": "d"})
    assert index.items_of("other") == {"c": "d"}
    assert Index(tmp_path / "index.sqlite").items_of("other") in (None, {"c": "d"})


def test_processes_that_find_it_damaged_at_once_all_go_on_with_one(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from phibuild.store import Index\n"
        "sys.stdin.readline()\n"
        "for number in range(20):\n"
        "    index = Index(Path(sys.argv[1], str(number)))\n"
        "    index.record_items(sys.argv[2], {'a': 'b'})\n"
        "    assert index.items_of(sys.argv[2]) == {'a': 'b'}, number\n"
    )
    for number in range(20):
        (tmp_path / str(number)).write_bytes(os.urandom(20_000))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path, str(who)], stdin=subprocess.PIPE, text=True
        )
        for who in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.close()
    assert [process.wait(timeout=120) for process in started] == [0] * 4
    for number in range(20):
        index = Index(tmp_path / str(number))
        assert [index.items_of(str(who)) for who in range(4)] == [{"a": "b"}] * 4
