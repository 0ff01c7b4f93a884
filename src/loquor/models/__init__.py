"""Model families, a folder each, and the registry that tells them apart."""

from loquor.models.adapter_choice import Adapters, adapter_choices
from loquor.models.registry import DTYPES, EMBEDDED, FAMILIES, LONGFORM, REALTIME, VITA, Family, family_of

__all__ = [
    "DTYPES",
    "EMBEDDED",
    "FAMILIES",
    "LONGFORM",
    "REALTIME",
    "VITA",
    "Adapters",
    "Family",
    "adapter_choices",
    "family_of",
]
