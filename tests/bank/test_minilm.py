"""A trained sentence encoder of transformers, all-MiniLM-L6-v2, as the text encoder."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bank.conftest import are_installed, encoder_of
from tests.bank.test_transformer_encoder import SAME_SUMS, last_hidden_states
from vapray.bank.text_encoder import TextEncoder

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights" / "all-MiniLM-L6-v2"

pytestmark = [
    pytest.mark.skipif(not are_installed("transformers"), reason="the extra clip is not installed"),
    pytest.mark.skipif(not REAL.is_dir(), reason="the trained MiniLM is not on this machine"),
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return encoder_of(REAL, "transformers", max_tokens=128)


def similarities(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Cosines of the sentences' embeddings: the means of their tokens."""
    means = np.stack([context.astype(np.float32).mean(axis=0) for context in encoder.encode(texts)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit @ unit.T


def test_contexts_are_the_last_hidden_states(encoder: TextEncoder) -> None:
    text = "a large, irregular black lesion"
    (context,) = encoder.encode([text])
    wanted = last_hidden_states(REAL, "bert", text)
    assert context.shape == wanted.shape == (9, 384)
    np.testing.assert_allclose(context.astype(np.float32), wanted, **SAME_SUMS)


def test_similarities_are_the_published_ones(encoder: TextEncoder) -> None:
    """Source: README of the package sentence-transformers."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    wanted = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(similarities(encoder, texts), wanted, atol=2e-3)
