"""What every refusal has in common."""

from collections.abc import Callable

import pytest

from vapray.errors import VaprayError

CONFIG, DATA, CHECKPOINT, BACKEND, REJECTS = 2, 3, 4, 5, 6
"""Exit codes."""


def refused(exit_code: int, act: Callable[[], object], *words: object) -> str:
    """The text with which vapray refuses; it holds every one of ``words``."""
    with pytest.raises(VaprayError) as caught:
        act()
    text = str(caught.value)
    assert caught.value.exit_code == exit_code, text
    for word in words:
        assert str(word) in text, text
    assert "Traceback" not in text
    return text
