"""A whole data set: shard by shard, by as many workers as there are, then one index over all of it.

Workers only compute; one process writes. A shard is written whole or not at all, so a run that is killed loses what was
in work and nothing else, and the next one goes on. What a shard holds follows from the items of the source and the
settings alone, so neither kills nor the number and kind of workers change a byte of the result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from loquor.checkpoints import discard_partial, write_atomically, write_text
from loquor.errors import CheckpointError, InputError
from loquor.training.dataset.encoding import SpeechCodec
from loquor.training.dataset.indexing import OURS, PLAN, SHARDS, index_dataset
from loquor.training.dataset.records import Dropped, RawItem, as_json
from loquor.training.dataset.report import Report
from loquor.training.dataset.shards import FORMAT, Job, Task, read_summary, shard_name, shard_number
from loquor.training.dataset.sources import Source
from loquor.training.dataset.workers import in_this_process

logger = logging.getLogger(__name__)

LOCK = ".lock"
Runner = Callable[[Job, SpeechCodec, Iterator[Task]], Iterator[tuple[int, bytes]]]  # shards, in any order


@dataclass(frozen=True)
class Progress:
    """How far a preparation is: items of the source, those an earlier run did included."""

    items: int
    total: int
    kept: int
    audio_s: float


@dataclass(frozen=True)
class Survey:
    """What a source holds, without having read its sound."""

    items: int
    fingerprint: str


def prepare_dataset(
    source: Source,
    folder: Path,
    job: Job,
    run: Runner = in_this_process,
    restart: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Prepare all of `source` into `folder`, or go on with what an earlier run began there.

    InputError if the source is empty, if the folder holds something else or is in work elsewhere, or if source,
    settings or codec have changed since; with `restart` what is there is deleted first.
    """
    _require_usable(folder)
    survey = look_over(source)
    codec = SpeechCodec.open(job.model, job.device)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        _plan(folder, _identity(source, survey, job, codec), restart)
        tally = Tally(survey.items, progress)
        done = _finished(folder / SHARDS, tally)
        tally.tell()
        tasks = (task for task in tasks_of(source, job.settings.shard_items) if task.number not in done)
        for number, data in run(job, codec, tasks):
            path = folder / SHARDS / shard_name(number)
            write_atomically(path, partial(_write, data))
            tally.count(path)
            tally.tell()
        return index_dataset(folder, codec)


def look_over(source: Source) -> Survey:
    """Go through a source once. InputError if its listing is faulty, or empty."""
    digest, items = hashlib.blake2b(repr((source.layout, source.stamp())).encode(), digest_size=8), 0
    root = source.path if source.path.is_dir() else source.path.parent
    for item in source:
        digest.update(repr((item.id, item.reason) if isinstance(item, Dropped) else _facts(item, root)).encode())
        items += 1
    if not items:
        raise InputError(f"{source.path} holds no recordings as {source.layout}", hint="name its layout by --format")
    return Survey(items, digest.hexdigest())


def _facts(item: RawItem, root: Path) -> tuple[object, ...]:
    """What an item is known by, wherever its source lies."""
    sounds = [(sound.name.removeprefix(str(root)), sound.stamp()) for sound in (item.sound, *item.voices)]
    return (item.id, item.text, item.speaker, item.language, sounds)


def tasks_of(source: Source, size: int) -> Iterator[Task]:
    """The items of a source in shards of `size`."""
    items, number = iter(source), 0
    while part := tuple(islice(items, size)):
        yield Task(number, part)
        number += 1


class Tally:
    """Counts finished shards."""

    def __init__(self, total: int, progress: Callable[[Progress], None] | None) -> None:
        self.at, self.progress = Progress(0, total, 0, 0.0), progress

    def count(self, path: Path) -> None:
        shard, at = read_summary(path), self.at
        seconds = sum(record.seconds for record in shard.records)
        self.at = Progress(at.items + shard.items, at.total, at.kept + len(shard.records), at.audio_s + seconds)

    def tell(self) -> None:
        if self.progress:
            self.progress(self.at)


def _finished(folder: Path, tally: Tally) -> set[int]:
    """The numbers of the shards that are there and sound."""
    found = set()
    for path in sorted(folder.glob("shard-*.safetensors")):
        try:
            tally.count(path)
            found.add(shard_number(path))
        except CheckpointError as error:
            logger.warning("%s; it is made again", error)
    return found


def _identity(source: Source, survey: Survey, job: Job, codec: SpeechCodec) -> dict[str, object]:
    """What must be the same to go on, by the words that a user knows it by."""
    asked = {_option(name): value for name, value in asdict(job.settings).items()}
    listed = {"source": f"{source.layout} {survey.fingerprint}", "items": survey.items}
    made = {"format": FORMAT, "codec": codec.fingerprint, "device": job.device}
    return json.loads(json.dumps(listed | made | asked))  # type: ignore[no-any-return]  # tuples become lists


def _option(name: str) -> str:
    """--longest for longest_s."""
    return f"--{name.removesuffix('_s').removesuffix('_dbfs').replace('_', '-')}"


def _require_usable(folder: Path) -> None:
    """InputError unless the folder is new, empty, or one of ours."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", hint="name a folder to write into")
    others = [path.name for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    if others and not (folder / PLAN).is_file():
        raise InputError(f"{folder} holds something else: {others[0]}", hint="name an empty or a new folder")


def _plan(folder: Path, identity: Mapping[str, object], restart: bool) -> None:
    """Set up a new folder, or make sure that this one was begun with the same; leftovers of a killed run go."""
    path = folder / PLAN
    if path.is_file() and not restart:
        _require_same(path, identity)
    else:
        for name in OURS:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink(missing_ok=True)
    write_text(path, as_json(identity, indent=1))
    (folder / SHARDS).mkdir(exist_ok=True)
    discard_partial(folder)
    discard_partial(folder / SHARDS)


def _require_same(path: Path, identity: Mapping[str, object]) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        names = [name for name in {**before, **identity} if before.get(name) != identity.get(name)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="--restart begins anew") from None
    if names:
        changes = "; ".join(f"{name} was {before.get(name)}, is {identity.get(name)}" for name in names)
        raise InputError(
            f"{path.parent} was begun with something else: {changes}",
            hint="--restart deletes what is there and begins anew; another folder keeps it",
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else writes here meanwhile; the lock ends with the process, however that ends."""
    with (folder / LOCK).open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows has no such locks
            pass
        except OSError:
            raise InputError(f"{folder} is in work: another process prepares it", hint="wait until it ends") from None
        yield


def _write(data: bytes, path: Path) -> None:
    path.write_bytes(data)
