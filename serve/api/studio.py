"""Static files of the studio page."""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.staticfiles import StaticFiles

__all__ = ["add_studio"]

FOLDER = Path(__file__).parents[1] / "studio"


def add_studio(app: FastAPI) -> None:
    """Serve ``/`` and ``/studio/...``."""
    files = StaticFiles(directory=FOLDER)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    app.mount("/studio", files, "studio")
