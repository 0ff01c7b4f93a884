"""What a server says no to: the reasons a client can do something about, with the time to wait where that helps."""

from __future__ import annotations

from loquor.errors import CapacityError, InputError, LoquorError


class RefusedError(CapacityError):
    """Not now. `is_theirs`: the client's own limit is reached (HTTP 429), not the server's (503)."""

    def __init__(self, message: str, retry_after_s: float, hint: str = "", is_theirs: bool = False) -> None:
        super().__init__(message, hint)
        self.retry_after_s, self.is_theirs = retry_after_s, is_theirs


class UnauthorisedError(LoquorError):
    """No key, or one that is not known (HTTP 401)."""


class TooLargeError(InputError):
    """A request or a message is larger than one may be (HTTP 413)."""


class IdleError(InputError):
    """What was begun is not gone on with (HTTP 408)."""


class NotFoundError(InputError):
    """What was named is not there (HTTP 404); `code` is what programs are told."""

    def __init__(self, message: str, hint: str = "", code: str = "not_found") -> None:
        super().__init__(message, hint)
        self.code = code
