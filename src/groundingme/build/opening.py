"""Pictures decoded ahead of a model that works on them, so that it never waits for a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from groundingme import images
from groundingme.build.records import Picture
from groundingme.build.sources import locate
from groundingme.errors import DataError, ImageError

if TYPE_CHECKING:
    from PIL import Image

    Batch = tuple[list[Picture], list[Image.Image]]

_WAITING = 4
"""Batches' worth of pictures that may wait for others of their size."""


def opened(
    pictures: Iterable[Picture], batch: int = 1, *, same_size: bool = False, threads: int = 2
) -> Iterator[Batch]:
    """The pictures that go on, decoded, in batches.

    While the caller works on a batch, the next one is read and decoded. Files are read in the
    order of the pictures, by one thread, as archives want it. A picture that cannot be opened gets
    its `failure` and comes in no batch. With the batch that the caller still holds, at most
    `3 * batch + 1` decoded pictures are in memory (an 8K one takes 100 MB); with `same_size` up to
    `4 * batch` more.

    Args:
        pictures: Those that do not go on are passed over.
        batch: Most pictures of a batch, at least 1.
        same_size: Whether a batch has pictures of one width and height only. Batches then come in
            another order than the pictures, the same one each time.
        threads: That decode.

    Yields:
        Pictures, and as many decoded images: RGB, upright.
    """
    decoded = _decoded((one for one in pictures if one.goes_on), batch + 1, threads)
    yield from _of_one_size(decoded, batch) if same_size else _in_order(decoded, batch)


def _in_order(decoded: Iterator[tuple[Picture, Image.Image]], batch: int) -> Iterator[Batch]:
    while several := list(islice(decoded, batch)):
        yield [one for one, _ in several], [image for _, image in several]


def _of_one_size(decoded: Iterator[tuple[Picture, Image.Image]], batch: int) -> Iterator[Batch]:
    waiting: dict[tuple[int, int], Batch] = {}
    held = 0
    for picture, image in decoded:
        group = waiting.setdefault(image.size, ([], []))
        group[0].append(picture)
        group[1].append(image)
        held += 1
        full = image.size if len(group[0]) == batch else None
        if full is None and held >= _WAITING * batch:
            full = next(iter(waiting))
        if full is not None:
            done = waiting.pop(full)
            held -= len(done[0])
            # Before it is worked on: the names here must not keep it alive for longer.
            del group, image
            yield done
            del done
    yield from waiting.values()


def _decoded(
    pictures: Iterator[Picture], ahead: int, threads: int
) -> Iterator[tuple[Picture, Image.Image]]:
    """Each picture with its image, in order, `ahead` of them decoded before they are asked for."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(threads) as decoder:

        def start(picture: Picture) -> tuple[Picture, Future[Image.Image]]:
            reading = reader.submit(_read, picture.where)
            return picture, decoder.submit(lambda: images.open_upright(reading.result()))

        coming = deque(start(one) for one in islice(pictures, ahead))
        try:
            while coming:
                picture, future = coming.popleft()
                coming.extend(start(one) for one in islice(pictures, 1))
                try:
                    image = future.result()
                except (DataError, ImageError) as error:
                    picture.failure = str(error)
                    continue
                del future
                yield picture, image
                del image
        finally:
            for _, future in coming:
                future.cancel()


def _read(where: str) -> bytes:
    return locate(where).read()
