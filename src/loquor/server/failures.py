"""Errors as HTTP has them: a status, and the JSON object that OpenAI's clients read."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

from loquor.errors import CapacityError, InputError, LoquorError, MissingExtra, VoiceError
from loquor.server.refusals import IdleError, NotFoundError, RefusedError, TooLargeError, UnauthorisedError

logger = logging.getLogger(__name__)

INVALID = "invalid_request_error"


@dataclass(frozen=True)
class Problem:
    """What a client is told."""

    status: int
    message: str
    kind: str
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {} if self.retry_after_s is None else {"Retry-After": str(math.ceil(self.retry_after_s))}


KINDS: tuple[tuple[type[LoquorError], int, str | None], ...] = (  # the first that fits
    (UnauthorisedError, 401, "invalid_api_key"),
    (VoiceError, 400, "invalid_voice"),
    (TooLargeError, 413, "too_large"),
    (IdleError, 408, "idle"),
    (InputError, 400, None),
    (CapacityError, 400, None),  # of the model's context: of slots it is a RefusedError
    (MissingExtra, 501, "not_installed"),
)


def known(error: Exception) -> LoquorError:
    """The error, if it is ours; of any other, which is logged, that speech broke off."""
    if isinstance(error, LoquorError):
        return error
    logger.error("speech broke off", exc_info=error)
    return LoquorError("speech broke off")


def problem(error: LoquorError, param: str | None = None) -> Problem:
    """What to tell of an error; of what is ours alone to mend, only that it is."""
    message = f"{error} ({error.hint})" if error.hint else str(error)
    if isinstance(error, RefusedError):
        status, kind, code = (503, "server_error", "overloaded")
        if error.is_theirs:
            status, kind, code = (429, "rate_limit_error", "rate_limit_exceeded")
        return Problem(status, message, kind, code, param, error.retry_after_s)
    if isinstance(error, NotFoundError):
        return Problem(404, message, INVALID, error.code, param)
    for kind_of, number, code_of in KINDS:
        if isinstance(error, kind_of):
            return Problem(number, message, INVALID if number < 500 else "server_error", code_of, param)
    return Problem(500, "the server cannot do this: its log says why", "server_error", None, param)
