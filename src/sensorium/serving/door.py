"""Who may ask: requests by the right name, from no other web page, with a key where keys are set.

request ──► Host ──► Origin ──► key ──► app, or 403 / 401
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sensorium.serving.errors import ApiError
from sensorium.serving.keys import fits, shown
from sensorium.serving.settings import Settings

OPEN = ("/healthz", "/readyz")  # for those who watch the process, and have no key
READING = ("GET", "HEAD", "OPTIONS")


class Door:
    """ASGI middleware. Browsers may read and send to whoever answers at this address, whatever page they show: hence
    the checks of Host (a page whose name was made to lead here) and of Origin (a form that another page sends).
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            try:
                self._check(scope)
            except ApiError as refused:
                await refused.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, settings = Headers(scope=scope), self.settings
        host = headers.get("host", "")
        if settings.hosts and _name(host) not in settings.hosts:
            raise ApiError(
                403,
                f"got a request for {host[:100]!r}; this server answers as {', '.join(settings.hosts)}. Whoever runs "
                "it may add a name: sensorium serve … --allow-host NAME",
                code="host_not_allowed",
            )
        origin = headers.get("origin")
        writes = scope["type"] == "websocket" or scope["method"] not in READING
        if origin is not None and writes and not self._may_send(origin, host):
            raise ApiError(
                403,
                f"got a request from the web page {origin[:100]!r}; pages of other addresses may not send any. "
                "Whoever runs this server may let it: sensorium serve … --cors-origin ORIGIN",
                code="origin_not_allowed",
            )
        if settings.key_hashes and scope["path"] not in OPEN:
            key = shown(headers.get("authorization", ""))
            if key is None or not fits(key, settings.key_hashes):
                # A browser asks for what it then sends as Basic; programs are told of bearers.
                scheme = "Bearer" if scope["path"].startswith("/v1/") else "Basic"
                raise ApiError(
                    401,
                    "expected a key of this server: Authorization: Bearer KEY"
                    if key is None
                    else "got a key that this server does not know",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": f'{scheme} realm="sensorium"'},
                )

    def _may_send(self, origin: str, host: str) -> bool:
        allowed = self.settings.origins
        return "*" in allowed or origin in allowed or origin.partition("://")[2].lower() == host.lower()


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
