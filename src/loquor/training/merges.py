"""Builds `text/data/qwen2_5_merges.txt.xz` from a Hugging Face `tokenizer.json` of Qwen2.5: the merges, in order.

    $ python -m loquor.training.merges tokenizer.json

The ids follow from the order, which is checked; the special tokens are named in `loquor.text.qwen_tokenizer`.
"""

import json
import lzma
import sys
from pathlib import Path

from loquor.text.qwen_tokenizer import byte_letters


def main(source: Path) -> None:
    """Writes the data file beside the code that reads it."""
    model = json.loads(source.read_text(encoding="utf-8"))["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    names = [*byte_letters(), *(merge.replace(" ", "") for merge in merges)]
    if {name: i for i, name in enumerate(names)} != model["vocab"]:
        raise SystemExit(f"{source}: the ids do not follow from the merges")
    target = Path(__file__).parents[1] / "text" / "data" / "qwen2_5_merges.txt.xz"
    target.write_bytes(lzma.compress("\n".join(merges).encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(merges)} merges, {target.stat().st_size} bytes: {target}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
