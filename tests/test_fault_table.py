"""The table of faults in tests/README.md names tests that there are, and says rightly which command runs them."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMED = re.findall(r"(?:\((slow|cluster|soak)\) )?`([\w/]+\.py)::(test_\w+)`", (TESTS / "README.md").read_text())


def marks(file: str, test: str) -> set[str]:
    """Of a test, its own and its file's."""
    tree = ast.parse((TESTS / file).read_text())
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == test)
    whole = [node.value for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    words = " ".join(ast.unparse(node) for node in [*function.decorator_list, *whole])
    return set(re.findall(r"mark\.(slow|cluster|soak)", words))


@pytest.mark.parametrize(("mark", "file", "test"), NAMED, ids=[name for _, _, name in NAMED])
def test_a_test_of_the_table_is_there_and_run_by_the_command_that_it_says(mark, file, test):
    assert marks(file, test) == ({mark} if mark else set())


def test_every_fault_has_a_test():
    rows = [line for line in (TESTS / "README.md").read_text().splitlines() if line.startswith("| ") and " | " in line]
    faults = rows[[line.startswith("| fault ") for line in rows].index(True) + 1 :]
    assert len(faults) >= 20
    assert all("::test_" in line for line in faults)
