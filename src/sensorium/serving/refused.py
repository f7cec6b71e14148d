"""`Refused`: what a caller sent is not taken, and which HTTP status says so."""

from __future__ import annotations


class Refused(ValueError):
    """Something of a request that is not taken.

    status: 400 cannot be read, 413 too large, 415 of a kind that is not read here, 422 reads but fits nothing
    param:  where in the request it stands, such as "messages[0].content[1]"; "" for the request as a whole
    """

    def __init__(self, status: int, message: str, param: str = "") -> None:
        super().__init__(f"{param}: {message}" if param else message)
        self.status, self.param = status, param
