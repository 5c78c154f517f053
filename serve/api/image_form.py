"""Image files as multipart/form-data, written to disk while they arrive."""

from asyncio import to_thread
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serve.api.authentication import LOCAL_PRINCIPAL, Principal
from serve.errors import ApiError
from serve.settings import RequestLimits
from serve.uploaded_images import ImageWriter, UploadedImages

__all__ = ["IMAGE_FORM", "receive_images"]

IMAGES, MODEL = "images", "model"
TEXT_BYTES = 1024
"""Maximum size of a text field."""
MIB = 2**20
MAX_BOUNDARY = 200

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 2}
_SCHEMA = {
    "type": "object",
    "required": [IMAGES],
    "properties": {
        IMAGES: {**_FILES, "description": "Image files, each as a part of its own."},
        MODEL: {"type": "string", "description": "Model id; default: the first model of the service."},
    },
}
IMAGE_FORM: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}
}
"""Body in the OpenAPI document."""


async def receive_images(
    request: Request, principal: Principal, writer: ImageWriter, limits: RequestLimits
) -> tuple[UploadedImages, str | None]:
    """Receive a form with files ``images`` and the text field ``model``.

    Args:
        request: Its body has not been read.
        principal: Caller.
        writer: Takes the images.
        limits: ``body_mib`` for an image, ``evaluation_images`` for their number.

    Returns:
        The images, and the model.

    Raises:
        ApiError: 400, with the number of the image; 403, a page of another origin, in a service without keys; 415.
    """
    if principal is LOCAL_PRINCIPAL:
        _require_same_origin(request)
    form = _Form(_boundary(request.headers.get("content-type", "")), writer, limits)
    problem: ApiError | None = None
    async for chunk in request.stream():
        if problem:  # many clients read the response only after they sent the whole body
            continue
        try:
            form.feed(chunk)
        except ApiError as error:
            problem = error
        if writer.is_full:
            await to_thread(writer.flush)
    if problem:
        raise problem
    form.finish()
    return await to_thread(writer.finish), form.model


class _Form:
    """Incremental parser."""

    def __init__(self, boundary: bytes, writer: ImageWriter, limits: RequestLimits) -> None:
        self.model: str | None = None
        self._writer, self._limits = writer, limits
        self._part, self._header, self._value = bytearray(), bytearray(), bytearray()
        self._name, self._complete = "", False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": self._extend,
                "on_part_end": self._end,
                "on_end": self._end_form,
            },
        )

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _invalid("not multipart/form-data") from None

    def finish(self) -> None:
        """Check that the form is complete."""
        if not self._complete:
            raise _invalid("cut short: its last boundary is missing")
        if (n := self._writer.count) < 2:
            raise _field_error(IMAGES, f"{n} image{'s' * (n != 1)}, at least 2.")

    def _begin(self) -> None:
        self._name = ""
        self._part.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            name = parse_options_header(bytes(self._value))[1].get(b"name", b"")
            self._name = name.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _extend(self, data: bytes, start: int, end: int) -> None:
        is_image = self._name == IMAGES
        limit = round(self._limits.body_mib * MIB) if is_image else TEXT_BYTES
        if len(self._part) + end - start > limit:
            size = f"{self._limits.body_mib:g} MiB" if is_image else f"{TEXT_BYTES} bytes"
            raise _field_error(self._where(), f"larger than {size}. Send a smaller one.")
        self._part += data[start:end]

    def _end(self) -> None:
        if self._name == IMAGES:
            if self._writer.count == self._limits.evaluation_images:
                raise _field_error(IMAGES, f"more than {self._limits.evaluation_images} images. Send fewer.")
            if not self._part:
                raise _field_error(self._where(), "an empty file. Leave it out.")
            self._writer.add(bytes(self._part))
        elif self._name != MODEL:
            raise _field_error(self._where(), f"unknown field. Known: {IMAGES}, {MODEL}.", "unknown_parameter")
        elif self.model is not None:
            raise _field_error(MODEL, "sent twice. Send it once.")
        else:
            self.model = self._part.decode("utf-8", "replace")

    def _end_form(self) -> None:
        self._complete = True

    def _where(self) -> str:
        return f"{IMAGES}.{self._writer.count}" if self._name == IMAGES else self._name[:64]


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY:
        shown = f"is {content_type[:64]!r}" if content_type else "is missing"
        raise ApiError(
            415, f"Content-Type {shown}. Send multipart/form-data with a boundary.", "unsupported_media_type"
        )
    return boundary


def _require_same_origin(request: Request) -> None:
    """Refuse forms of foreign pages: a browser sends those without asking, and no key is needed."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise ApiError(403, f"Origin is {origin[:64]!r}; only pages of this service may send forms.", "foreign_origin")


def _invalid(problem: str) -> ApiError:
    return ApiError(400, f"The request body is {problem}. Send a form with the field {IMAGES}.", "invalid_form")


def _field_error(where: str, problem: str, code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"{where}: {problem}", code, where)
