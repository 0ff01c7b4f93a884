"""Model families, a folder each, and the registry that tells them apart."""

from loquor.models.registry import DTYPES, EMBEDDED, FAMILIES, LONGFORM, REALTIME, Adapters, Family, family_of

__all__ = ["DTYPES", "EMBEDDED", "FAMILIES", "LONGFORM", "REALTIME", "Adapters", "Family", "family_of"]
