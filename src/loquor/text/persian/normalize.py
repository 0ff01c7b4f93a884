"""Persian as it is written to Persian as it is said, for voices that learn it letter by letter.

Four steps: one code for each character (`characters`), numbers and signs to words (`readings`), Latin words to Persian
letters (`latin`), half-spaces and marks (`affixes`, `marks`). Ezafe is neither guessed nor taken away.
"""

from dataclasses import dataclass

from loquor.errors import InputError
from loquor.text.persian.characters import clean
from loquor.text.persian.latin import transliterated
from loquor.text.persian.marks import tidy
from loquor.text.persian.readings import read


@dataclass(frozen=True)
class PersianNormalizer:
    """Gives Persian letters, half-spaces, the marks . ، ؛ : ؟ ! … - and « », and single spaces.

    `latin` is "transliterate" (one script is easier to learn) or "keep". `vowels` is "needed", the marks that sound
    like nothing the letters show (tanvin, written ezafe), or "all": short vowels are written so rarely that a word with
    them is a second spelling to learn, but a speaker who marks them all is heard better with them.
    """

    latin: str = "transliterate"
    vowels: str = "needed"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("latin", self.latin, ("transliterate", "keep")),
            ("vowels", self.vowels, ("needed", "all")),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}", hint=f"it is one of {', '.join(known)}")

    def __call__(self, text: str) -> str:
        """What is said for a text; what is normal stays as it is."""
        text = read(clean(text))
        if self.latin == "transliterate":
            text = transliterated(text)
        return tidy(text, keep_vowels=self.vowels == "all")
