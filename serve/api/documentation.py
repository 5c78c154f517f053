"""The API's interactive documentation."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

__all__ = ["add_documentation"]

CDN = "https://cdn.jsdelivr.net"
POLICY = (
    f"default-src 'none'; script-src {CDN} 'unsafe-inline'; style-src {CDN} 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger's page loads its script from a CDN; no other page may."""


def add_documentation(app: FastAPI) -> None:
    """Serve ``/docs``."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(openapi_url="/openapi.json", title="vapray", swagger_favicon_url="data:,")
        page.headers["content-security-policy"] = POLICY
        return page
