"""Trace of one image through a finished run: captions, prompt bank, prototypes, denoising, neighbours, lineage."""

from vapray.trace.trace import Trace, trace_image

__all__ = ["Trace", "trace_image"]
