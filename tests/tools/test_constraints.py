"""The versions in constraints.txt are versions that the package may be installed with."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.version import Version

from tools import constraints


def test_what_ci_asks_for_is_pinned_to_what_the_package_allows() -> None:
    lines = [line for line in constraints.FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    assert list(pinned) == sorted(pinned) and len(pinned) == len(lines)
    missing = {wanted.name for wanted in constraints.asked()} - set(pinned)
    assert not missing
    for wanted in constraints.asked():
        assert wanted.specifier.contains(Version(pinned[wanted.name])), str(wanted)


def test_what_is_required_of_what_is_required_is_found() -> None:
    """The closure follows extras, leaves local parts of versions out and passes over what is not installed."""
    found = constraints.closure([Requirement("pytest"), Requirement("no-such-package")])
    assert {"pytest", "pluggy"} <= set(found) and "no-such-package" not in found
    assert not [version for version in found.values() if "+" in version]
