"""What goes wrong, in the words and the shape that OpenAI's clients read; never a traceback.

{"error": {"message": …, "type": …, "param": …, "code": …}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

INVALID, UNAVAILABLE, BUSY = "invalid_request_error", "server_error", "rate_limit_error"
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: BUSY}


class ApiError(Exception):
    """An answer that is an error.

    status:  of HTTP; message: what was got, what is expected
    type:    kind of error; by default that of the status
    param:   the field that is wrong
    code:    for programs, such as "model_not_found"
    headers: to send with it, such as Retry-After
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.type = type or TYPES.get(status) or (INVALID if status < 500 else UNAVAILABLE)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The answer; itself an ASGI application, for middleware."""
        return JSONResponse(self.body(), self.status, self.headers)
