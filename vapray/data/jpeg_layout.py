"""Markers of a JPEG file: frame header and scans (ITU-T T.81, annexes A, B and G)."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from vapray.errors import ImageDecodeError

__all__ = ["END_MARKER", "JpegLayout", "Scan", "cut_short", "read_layout"]

END_MARKER = b"\xff\xd9"
MARKER = re.compile(rb"\xff+([\x01-\xfe])")
SCAN_END = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""Any marker but the restart markers, which are inside a scan."""
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
WITHOUT_SEGMENT = frozenset((0x01, *range(0xD0, 0xD9)))
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN, RESTART_INTERVAL = 0xDA, 0xDD
PROGRESSIVE = 0xC2
BLOCK = 8
"""Side of a block of coefficients, in pixels."""


@dataclass(frozen=True)
class Scan:
    """Scan header and number of restart markers.

    Attributes:
        components: ids of the components in the scan.
        coefficients: first and last coefficient, 0 to 63.
        lowest_bit: lowest bit of the coefficients that has been sent after this scan.
        interval: MCUs between restart markers; 0 without them.
        restarts: restart markers in the scan.
    """

    components: bytes
    coefficients: tuple[int, int]
    lowest_bit: int
    interval: int
    restarts: int


@dataclass
class JpegLayout:
    """Frame header and scans of the first image in a JPEG file.

    Attributes:
        frame: marker of the frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, others without Huffman coding or
            without DCT.
        header: content of the frame header: precision, height, width, and id and sampling factors of each component.
        scans: scans in the order of the file.
        end: position behind the last scan.
    """

    frame: int = 0
    header: bytes = bytes(6)
    scans: list[Scan] = field(default_factory=list)
    end: int = 0

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return self.header[0]

    def problem(self) -> str | None:
        """Describe scans or restart intervals that are missing; None if there are none."""
        if self.frame == PROGRESSIVE and self._has_unsent_bits():
            return "scans of the progressive JPEG are missing"
        if any(scan.restarts < self._expected_restarts(scan) for scan in self.scans):
            return "restart intervals of the JPEG are missing"
        return None

    @cached_property
    def _sampling(self) -> dict[int, tuple[int, int]]:
        """Horizontal and vertical sampling factor of each component."""
        return {self.header[at]: divmod(self.header[at + 1], 16) for at in range(6, len(self.header) - 2, 3)}

    def _has_unsent_bits(self) -> bool:
        lowest_bit = {
            (component, place): scan.lowest_bit
            for scan in self.scans
            for component in scan.components
            for place in range(scan.coefficients[0], scan.coefficients[1] + 1)
        }
        return any(lowest_bit.get((component, place)) != 0 for component in self._sampling for place in range(64))

    def _expected_restarts(self, scan: Scan) -> int:
        if not scan.interval:
            return 0
        height, width = int.from_bytes(self.header[1:3], "big"), int.from_bytes(self.header[3:5], "big")
        largest = [max(factors) for factors in zip(*self._sampling.values(), strict=True)]
        # The MCU of a single component is one of its blocks (A.2.2); else it holds all blocks of an area (A.2.3).
        factors = self._sampling[scan.components[0]] if len(scan.components) == 1 else (1, 1)
        columns, rows = (
            ceil(ceil(side * factor / most) / BLOCK) if len(scan.components) == 1 else ceil(side / (BLOCK * most))
            for side, factor, most in zip((width, height), factors, largest, strict=True)
        )
        return ceil(columns * rows / scan.interval) - 1


def cut_short(cause: str) -> ImageDecodeError:
    """Build the error of a file of which a part is missing."""
    return ImageDecodeError(f"damaged or cut short: {cause}; copy the file again")


def read_layout(data: bytes) -> JpegLayout:
    """Read the markers up to the first end marker.

    Raises:
        ImageDecodeError: a segment is incomplete, no scan, no end marker.
    """
    layout, interval, position = JpegLayout(), 0, 2
    while found := MARKER.search(data, position):
        kind, position = found[1][0], found.end()
        if kind == END_MARKER[1]:
            break
        if kind in WITHOUT_SEGMENT:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        segment = data[position + 2 : position + length]
        position += length
        if len(segment) != length - 2 or (kind in (*FRAMES, START_OF_SCAN) and len(segment) < 6):
            raise cut_short("the JPEG header is incomplete")
        if kind in FRAMES:
            layout.frame, layout.header = kind, segment
        elif kind == RESTART_INTERVAL:
            interval = int.from_bytes(segment, "big")
        elif kind == START_OF_SCAN:
            end = SCAN_END.search(data, position)
            layout.end = end.start() if end else len(data)
            restarts = len(RESTART.findall(data, position, layout.end))
            layout.scans.append(Scan(segment[1:-3:2], (segment[-3], segment[-2]), segment[-1] & 15, interval, restarts))
            position = layout.end
    else:
        raise cut_short("the JPEG has no end marker")
    if not layout.scans:
        raise cut_short("the JPEG has no image data")
    return layout
