"""The page's own files, read once: no CDN, nothing from anywhere else."""

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Asset:
    """One file, with an ETag so that a browser asks whether it has changed, and loads it once."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._type = TYPES[name.rpartition(".")[2]]

    async def send(self, request: Request) -> Response:
        """304 for who has it."""
        headers = {"etag": self._tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers | {"content-type": self._type})


def assets() -> dict[str, Asset]:
    """By name."""
    folder = files("tidelog.gateways.web") / "page"
    there = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name: Asset(file.name, file.read_bytes()) for file in there if file.name.rpartition(".")[2] in TYPES}
