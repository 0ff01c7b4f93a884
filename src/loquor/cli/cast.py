"""`--cast`: who speaks with which voice, by name or in order of appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loquor.errors import InputError
from loquor.text.turns import Names, speaker_name

Cast = Mapping[str, str] | Sequence[str]  # voices by speaker, or in order of appearance

HINT = 'write --cast "Alice=alice.wav,Bob=carter", or the voices alone in order of appearance'


def parse_cast(options: Sequence[str]) -> Cast:
    """The parts of `--cast` options, which may be given several times; `1=` and `Speaker 1=` are the same."""
    items = [item.strip() for option in options for item in option.split(",") if item.strip()]
    pairs = [tuple(part.strip() for part in item.partition("=")) for item in items]
    if not any(mark for _, mark, _ in pairs):
        return items
    cast: dict[str, str] = {}
    for name, mark, voice in pairs:
        if not (name and mark and voice):
            raise InputError(f"{name + mark + voice!r} in the cast is not name=voice, as others are", hint=HINT)
        if speaker_name(name) in cast:
            raise InputError(f"{name} is in the cast twice", hint=HINT)
        cast[speaker_name(name)] = voice
    return cast


def cast_names(cast: Cast) -> list[str]:
    """The speakers that the cast names."""
    return list(cast) if isinstance(cast, Mapping) else []


def assign(cast: Cast, speakers: Sequence[str]) -> dict[str, str]:
    """The voice of each speaker, in their order; InputError if one has none, or a voice has no speaker."""
    listed = ", ".join(speakers)
    if not isinstance(cast, Mapping):
        if len(cast) > len(speakers):
            raise InputError(f"the cast has {len(cast)} voices for {len(speakers)} speakers: {listed}", hint=HINT)
        cast = dict(zip(speakers, cast, strict=False))
    names = Names(cast)
    voices = {names.spelled(name): voice for name, voice in cast.items()}
    if strangers := [name for name in voices if name not in {names.spelled(speaker) for speaker in speakers}]:
        raise InputError(f"{strangers[0]} is in the cast, but not in the script", hint=f"its speakers are {listed}")
    if silent := [speaker for speaker in speakers if names.spelled(speaker) not in voices]:
        raise InputError(f"there is no voice for {silent[0]}", hint=HINT)
    return {speaker: voices[names.spelled(speaker)] for speaker in speakers}
