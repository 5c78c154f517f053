"""The prefixes that distribute tests over workers name tests that exist."""

import pytest

from tests.conftest import ROOT
from tests.distribution import FIRST, INDEPENDENT, TOGETHER

PREFIXES = sorted({*FIRST, *INDEPENDENT, *(prefix for group in TOGETHER for prefix in group)})


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_names_tests_that_exist(prefix):
    path, _, name = prefix.partition("::")
    assert (ROOT / path).exists()
    assert not name or f"def {name}" in (ROOT / path).read_text()
