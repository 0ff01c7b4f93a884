"""Speech language models that speak, stream and learn. `loquor.load()` gives a speaker; torch loads only then."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loquor.engine.conversation import Conversation
    from loquor.engine.converser import Converser
    from loquor.engine.dialogue import DialogueSpeaker
    from loquor.engine.load import load
    from loquor.engine.reply import Reply, ReplyChunk
    from loquor.engine.request import Chunk
    from loquor.engine.speaker import Speaker
    from loquor.engine.speech import Speech
    from loquor.errors import LoquorError
    from loquor.voices.voice import Voice

    __version__: str

__all__ = [
    "Chunk",
    "Conversation",
    "Converser",
    "DialogueSpeaker",
    "LoquorError",
    "Reply",
    "ReplyChunk",
    "Speaker",
    "Speech",
    "Voice",
    "__version__",
    "load",
]

_HOMES = {
    "Chunk": "loquor.engine.request",
    "Conversation": "loquor.engine.conversation",
    "Converser": "loquor.engine.converser",
    "DialogueSpeaker": "loquor.engine.dialogue",
    "LoquorError": "loquor.errors",
    "Reply": "loquor.engine.reply",
    "ReplyChunk": "loquor.engine.reply",
    "Speaker": "loquor.engine.speaker",
    "Speech": "loquor.engine.speech",
    "Voice": "loquor.voices.voice",
    "load": "loquor.engine.load",
}

if not TYPE_CHECKING:  # a type checker knows the names above and shall miss every other

    def __getattr__(name: str) -> object:
        """The public names, each imported when it is first used."""
        if name == "__version__":
            value = _version()
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module 'loquor' has no attribute {name!r}")
        globals()[name] = value
        return value

    def _version() -> str:
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("loquor")
        except PackageNotFoundError:
            return "(not installed)"

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
