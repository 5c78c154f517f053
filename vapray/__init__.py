"""vapray: VAP-Diffusion (arXiv 2506.23641) as a distributed system on Ray. Not for clinical use."""

__version__ = "0.1.0"
