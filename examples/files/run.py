"""Make thumbnails of a folder of pictures, one job each. Without a folder, it paints some pictures first."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

import click
import jobs
from PIL import Image, ImageDraw

import callboard

HERE = Path(__file__).resolve().parent
LOOK_S = 0.1
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tiff")
SEED = 7


@click.command(help=__doc__)
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=HERE / "work",
              help="Folder for the thumbnails and the jobs' store.")
@click.option("--count", type=click.IntRange(1, 1_000), default=40, show_default=True, help="Pictures to paint.")
def main(pictures: Path | None, work: Path, count: int) -> None:
    """Push a job for each picture, start a node, and say what came of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = work.resolve()
    (work / "thumbnails").mkdir(parents=True, exist_ok=True)
    for old in [*work.glob("jobs.db*"), *work.glob("thumbnails/*.jpg")]:
        old.unlink()
    if pictures is None:
        pictures = work / "pictures"
        paint_all(pictures, count)
    sources = sorted(path for path in pictures.iterdir() if path.suffix.lower() in PICTURES)
    if not sources:
        click.echo(f"there is no picture in {pictures}", err=True)
        sys.exit(2)
    try:
        queue = run(f"sqlite:///{work / 'jobs.db'}", sources, work / "thumbnails")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(summary(queue, sources, work / "thumbnails"))


def run(store: str, sources: list[Path], target: Path) -> callboard.Queue:
    """Make all thumbnails."""
    queue = callboard.connect(store, queue="thumbnails")
    config = callboard.WorkerConfig(concurrency=len(os.sched_getaffinity(0)), log_level="error")
    with callboard.Worker(queue, config) as worker:
        queue.push_many(jobs.make_thumbnail.bind(str(path.resolve()), str(thumbnail(target, path)))
                        for path in sources)
        look = threading.Event()
        with click.progressbar(length=len(sources), label="Thumbnails", show_pos=True) as bar:
            while bar.pos < len(sources):
                stats = queue.stats()
                bar.update(stats.completed_jobs + stats.failed_jobs - bar.pos)
                look.wait(LOOK_S)
                worker.pool.stats()  # raises when the node has ended
    return queue


def thumbnail(target: Path, source: Path) -> Path:
    """Where a picture's thumbnail goes."""
    return target / f"{source.name}.jpg"


def summary(queue: callboard.Queue, sources: list[Path], target: Path) -> int:
    """Say what came of it; the exit code."""
    made = [path for path in sources if thumbnail(target, path).exists()]
    failed = queue.failed.list(1_000)
    click.echo(f"\n{len(sources)} files: {len(made)} thumbnails in {target}, {len(failed)} failed.")
    for job in sorted(failed, key=lambda job: str(job.arguments["source"])):
        click.echo(f"  {Path(job.arguments['source']).name}: {job.error_kind}: {job.error}")
    return 0 if len(made) + len(failed) == len(sources) else 1


def paint_all(folder: Path, count: int) -> None:
    """Paint pictures of several kinds and sizes, and break three files."""
    folder.mkdir(exist_ok=True)
    draw = random.Random(SEED)  # noqa: S311 - pictures, no secrets
    kinds = ("jpg", "png", "webp", "gif")
    for number in range(count):
        size = (draw.randrange(300, 2_000), draw.randrange(300, 2_000))
        paint(size, draw).save(folder / f"picture-{number:03}.{kinds[number % len(kinds)]}")
    whole = (folder / "picture-000.jpg").read_bytes()
    (folder / "broken-cut.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "broken-empty.png").write_bytes(b"")
    (folder / "broken-text.gif").write_text("This is no picture.\n")


def paint(size: tuple[int, int], draw: random.Random) -> Image.Image:
    """One picture: circles on a plain ground."""
    picture = Image.new("RGB", size, colour(draw))
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, r = draw.randrange(size[0]), draw.randrange(size[1]), draw.randrange(20, 250)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour(draw))
    return picture


def colour(draw: random.Random) -> tuple[int, int, int]:
    """Any colour."""
    return draw.randrange(256), draw.randrange(256), draw.randrange(256)


if __name__ == "__main__":
    main()
