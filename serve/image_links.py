"""Images at expiring URLs: files in the state folder, whose names cannot be guessed."""

import re
import secrets
import time
from collections.abc import Callable

from serve.errors import ApiError
from serve.settings import LinkSettings
from vapray.store.files import FileStore

__all__ = ["ImageLinks"]

FOLDER = "image_links"
SECONDS_BETWEEN_CLEANUPS = 30.0
ADDED_BETWEEN_CLEANUPS = 100
NAME = re.compile(r"([0-9]{10})-[A-Za-z0-9_-]{32}\.(png|jpeg|webp)", re.ASCII)


class ImageLinks:
    """Store of linked images, shared by all processes of the service.

    Expired images, and the oldest ones above ``settings.images``, are removed after every hundredth new image of a
    process and twice a minute. All methods block on file access: call them from a thread.

    Args:
        state_dir: folder or URI.
        settings: number of images, and seconds for which a link holds.
        clock: Unix time.
    """

    def __init__(self, state_dir: str, settings: LinkSettings, clock: Callable[[], float] = time.time) -> None:
        self._files, self._settings, self._clock = FileStore(state_dir), settings, clock
        self._cleaned, self._added = 0.0, 0

    def add(self, data: bytes, suffix: str) -> str:
        """Store an image file and return the name by which :meth:`get` finds it.

        Raises:
            DataError: the file cannot be written.
        """
        expires = int(self._clock() + self._settings.seconds)
        name = f"{expires:010d}-{secrets.token_urlsafe(24)}.{suffix}"
        self._files.write(f"{FOLDER}/{name}", data)
        self._added += 1
        if self._added >= ADDED_BETWEEN_CLEANUPS or self._clock() - self._cleaned >= SECONDS_BETWEEN_CLEANUPS:
            self._cleaned, self._added = self._clock(), 0
            self._clean()
        return name

    def get(self, name: str) -> tuple[bytes, str]:
        """Get an image file and its suffix.

        Raises:
            ApiError: 404, the link has expired or never was.
        """
        found = NAME.fullmatch(name)
        data = self._files.read(f"{FOLDER}/{name}") if found and int(found[1]) > self._clock() else None
        if found is None or data is None:
            raise ApiError(404, "This link has expired. Request the image again by its seed.", "expired_link")
        return data, found[2]

    def _clean(self) -> None:
        names = sorted(filter(NAME.fullmatch, self._files.names(FOLDER)))
        kept = [name for name in names if int(name[:10]) > self._clock()][-self._settings.images :]
        for name in set(names) - set(kept):
            self._files.remove(f"{FOLDER}/{name}")
