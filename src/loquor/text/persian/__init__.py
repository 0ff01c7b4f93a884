"""Persian as it is written to Persian as it is said."""

from loquor.text.persian.normalize import PersianNormalizer

__all__ = ["PersianNormalizer"]
