"""Reasons for files that no decoder accepts, by their first bytes."""

import re

from vapray.data.jpeg import explain_jpeg

__all__ = ["explain_unidentified"]

OTHER_KINDS = {
    rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)": "an HTML page; download the file again",
    rb"\s*(<\?xml|<svg)": "XML or SVG",
    rb"version https://git-lfs": "a Git LFS pointer; run git lfs pull",
    rb"....ftyp(avif|avis)": "AVIF, which is not supported; convert it to PNG",
    rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)": "HEIC, which is not supported; convert it to PNG or JPEG",
    rb"\0\0\0\x0cJXL |\xff\x0a": "JPEG XL, which is not supported; convert it to PNG",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "JPEG 2000, which is not supported; convert it to PNG",
    rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!": "an archive; unpack it",
    rb"%PDF": "a PDF",
    rb"8BPS": "a Photoshop file; convert it to PNG",
    rb"([\x02\x08]\0..|\0[\x02\x08]..)([A-Z][A-Z]|..\0\0)": "DICOM without its preamble; write it as a DICOM file",
}
SUPPORTED = {
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"II\*\0|MM\0\*|II\+\0|MM\0\+": "TIFF",
    rb"GIF8": "GIF",
    rb"RIFF....WEBP": "WebP",
    rb"BM": "BMP",
    rb"P[1-6]\s": "PPM",
}


def explain_unidentified(data: bytes, formats: str) -> str:
    """Explain why a file is not opened.

    Args:
        data: bytes of the file, at least one.
        formats: names of the supported formats, for the message.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return explain_jpeg(data)
    if kind := _match(OTHER_KINDS, data):
        return f"not an image of a supported format: {kind}"
    if kind := _match(SUPPORTED, data):
        return (
            f"a {kind} file that is cut off in its header, or of an unsupported pixel format; "
            "copy it again, or save it with 8 bits per sample"
        )
    if not data.strip(b"\0"):
        return "not an image: only zeros; copy the file again"
    return f"not an image, or cut off in its header: starts with {data[:16]!r}; expected {formats}"


def _match(kinds: dict[bytes, str], data: bytes) -> str | None:
    start = data[:1024]
    return next((kind for pattern, kind in kinds.items() if re.match(pattern, start, re.DOTALL | re.IGNORECASE)), None)
