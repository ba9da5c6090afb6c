"""The memory of a container, from the files of its control groups."""

from pathlib import Path

import psutil
import pytest

from reconciler.host.memory import _limits, memory_bytes, memory_now

V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def group(folder: Path, names: tuple[str, str, str], limit: object, used: int = 0, dropped: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {dropped}\n")


def limits(tmp_path: Path, own: str) -> list[tuple[int, int]]:
    (tmp_path / "own").write_text(own)
    return list(_limits(tmp_path / "own", tmp_path / "groups"))


def test_version_2_with_limits_on_two_levels(tmp_path: Path) -> None:
    root = tmp_path / "groups"
    group(root / "pod" / "box", V2, 4000, 1500, 500)
    group(root / "pod", V2, 3000, 2000)
    group(root, V2, "max", 9000)
    assert limits(tmp_path, "0::/pod/box\n") == [(4000, 1000), (3000, 2000)]


def test_version_1_beside_others(tmp_path: Path) -> None:
    group(tmp_path / "groups" / "memory" / "docker" / "id", V1, 2000, 700, 200)
    own = "5:cpu,cpuacct:/docker/id\n4:memory:/docker/id\n1:name=systemd:/docker/id\n0::/\n"
    assert limits(tmp_path, own) == [(2000, 500)]


def test_a_group_that_is_not_seen_from_inside_is_that_of_the_root(tmp_path: Path) -> None:
    group(tmp_path / "groups" / "memory", V1, 2000, 100)
    assert limits(tmp_path, "4:memory:/docker/id\n") == [(2000, 100)]


@pytest.mark.parametrize("own", ["", "0::/\n", "nonsense\n"])
def test_without_limits_the_machine_decides(tmp_path: Path, own: str) -> None:
    assert limits(tmp_path, own) == []


def test_this_machine() -> None:
    total, free = memory_now()
    assert 1 << 28 < total <= psutil.virtual_memory().total
    assert total == memory_bytes()
    assert 0 < free <= total
