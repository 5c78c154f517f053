"""Weights that come with vapray: the recipe ``modern`` on drawn dermoscopic phantoms, in half precision.

``make weights`` makes them again.
"""

from pathlib import Path

__all__ = ["PHANTOM_WEIGHTS"]

PHANTOM_WEIGHTS = str(Path(__file__).parent / "final")
"""Folder of the checkpoint, as ``vapray serve --checkpoint`` and ``Sampler.load`` take it."""
