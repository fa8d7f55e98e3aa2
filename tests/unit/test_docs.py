"""What the documentation shows does what it says."""

from __future__ import annotations

import doctest

from running import ROOT


def test_examples_of_the_library():
    found = doctest.testfile(str(ROOT / "docs" / "api.md"), module_relative=False)
    assert found.attempted > 10
    assert found.failed == 0
