"""The lock files hold every requirement of pyproject.toml in a version that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
RESOLVER: dict[str, Any] = tomllib.loads((REPOSITORY / "locks" / "uv.toml").read_text(encoding="utf-8"))
TORCH = Requirement(RESOLVER["override-dependencies"][0])
PINNED = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>\S+)", re.MULTILINE)
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

# The extras and dependency groups in each lock file. All of them also hold the dependencies of the package itself.
TESTED = (*EXTRAS, "test")
PARTS: dict[str, tuple[str, ...]] = {
    "package.txt": (*TESTED, "lint", "docs", "models", "build"),
    "lowest.txt": TESTED,
    "ray.txt": ("huggingface", "server", "ray"),
}
SERVERS = [group for group in PROJECT["dependency-groups"] if group.startswith("server-")]
CLIENTS = [group for group in PROJECT["dependency-groups"] if group.startswith("client")]


def requirements(part: str) -> Iterator[Requirement]:
    """Yield the requirements of an extra or a dependency group, except PyTorch, which is installed first and alone."""
    for entry in EXTRAS.get(part) or PROJECT["dependency-groups"][part]:
        if isinstance(entry, dict):
            yield from requirements(entry["include-group"])
        elif (requirement := Requirement(entry)).name != TORCH.name:
            yield requirement


def locked(file: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock file: several if they depend on the Python version."""
    versions: dict[str, set[str]] = {}
    for pin in PINNED.finditer((REPOSITORY / "locks" / file).read_text(encoding="utf-8")):
        versions.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    return versions


def unmet(required: Iterator[Requirement], versions: dict[str, set[str]]) -> list[str]:
    """Return the requirements that a lock file does not meet."""
    return [
        str(requirement)
        for requirement in required
        if not (found := versions.get(canonicalize_name(requirement.name)))
        or not all(requirement.specifier.contains(version) for version in found)
    ]


@pytest.mark.parametrize("file", PARTS)
def test_a_lock_file_holds_what_the_package_asks_for(file: str) -> None:
    versions = locked(file)
    assert not unmet(map(Requirement, PROJECT["project"]["dependencies"]), versions)
    for part in PARTS[file]:
        assert not unmet(requirements(part), versions), f"{part}: run `make lock` and commit what it writes"


@pytest.mark.parametrize("group", [*SERVERS, *CLIENTS])
def test_a_server_and_a_client_have_lock_files_of_their_own(group: str) -> None:
    assert not unmet(requirements(group), locked(f"{group}.txt"))


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    versions = locked("lowest.txt")
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
        (version,) = versions[canonicalize_name(requirement.name)]
        assert Requirement(f"x=={bound}").specifier.contains(version), requirement


def test_no_lock_file_names_pytorch_or_an_address() -> None:
    """pip installs PyTorch separately, and users install from the package index that they have configured."""
    for file in (*PARTS, *(f"{group}.txt" for group in [*SERVERS, *CLIENTS])):
        text = (REPOSITORY / "locks" / file).read_text(encoding="utf-8")
        assert TORCH.name not in locked(file)
        assert "://" not in text


def test_make_installs_the_pytorch_that_the_lock_files_are_resolved_for() -> None:
    assert f"TORCH := {TORCH}" in (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("requirement", ["rich>=999", "a-package-that-nobody-locked"])
def test_a_requirement_that_is_not_locked_is_found(requirement: str) -> None:
    assert unmet(iter([Requirement(requirement)]), locked("package.txt")) == [requirement]
