"""One tree of errors: every failure raised on purpose says what is wrong with which value, and what to do."""


class LoquorError(Exception):
    """Base of every error raised on purpose: the CLI prints message and hint, the server maps the class to a status."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(LoquorError):
    """A configuration holds a value, or lacks one, that no model can be built from."""


class CheckpointError(LoquorError):
    """A checkpoint folder or file is missing, damaged, or does not fit the model."""


class InputError(LoquorError):
    """The caller gave something that cannot be spoken, read or used."""


class ScriptError(InputError):
    """A script has a line that cannot be read."""


class AudioError(InputError):
    """Audio that cannot be read, written or used."""


class VoiceError(InputError):
    """A voice is unknown, damaged, or was made for another model."""


class CapacityError(LoquorError):
    """The context or the slots are full."""


class MissingExtra(LoquorError):  # noqa: N818 - it names what is missing
    """An optional dependency is not installed; the hint gives the install line."""
