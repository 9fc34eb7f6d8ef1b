"""examples/files: a thumbnail for each picture, and the failed list for what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from examplekit import load_jobs, run_example
from PIL import Image

from callboard import testing

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = ["broken-cut.jpg", "broken-empty.png", "broken-text.gif"]


def test_every_picture_gets_a_thumbnail_and_broken_files_fail(tmp_path: Path):
    output = run_example("files", "--work", str(tmp_path), "--count", "12")
    thumbnails = sorted((tmp_path / "thumbnails").iterdir())
    sources = sorted(path for path in (tmp_path / "pictures").iterdir() if path.name not in BROKEN)
    assert [path.name for path in thumbnails] == [f"{path.name}.jpg" for path in sources]
    for source, thumbnail in zip(sources, thumbnails, strict=True):
        with Image.open(source) as large, Image.open(thumbnail) as small:
            assert max(small.size) == 160
            assert small.format == "JPEG"
            assert large.width / large.height == pytest.approx(small.width / small.height, rel=0.1)
    assert f"15 files: 12 thumbnails in {tmp_path}/thumbnails, 3 failed." in output
    assert "broken-cut.jpg: PermanentError: broken-cut.jpg is damaged" in output
    assert "broken-text.gif: UnidentifiedImageError" in output


def test_a_folder_of_one_s_own_is_taken_as_it_is(tmp_path: Path):
    own = tmp_path / "own"
    own.mkdir()
    Image.new("RGBA", (400, 100), (255, 0, 0, 128)).save(own / "see-through.png")
    (own / "notes.txt").write_text("no picture's name")
    output = run_example("files", str(own), "--work", str(tmp_path / "work"))
    assert "1 files: 1 thumbnails" in output
    with Image.open(tmp_path / "work" / "thumbnails" / "see-through.png.jpg") as small:
        assert small.size == (160, 40)
    (tmp_path / "empty").mkdir()
    assert "there is no picture" in run_example("files", str(tmp_path / "empty"), "--work", str(tmp_path / "w"), code=2)


def test_what_is_no_picture_fails_at_once_and_a_full_disk_is_tried_again(tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch):
    jobs = load_jobs("files")
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (300, 200)).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    queue = testing.memory_queue()
    queue.push(jobs.make_thumbnail.bind(str(bad), str(tmp_path / "bad.jpg")))
    queue.push(jobs.make_thumbnail.bind(str(tmp_path / "gone.png"), str(tmp_path / "gone.jpg")))
    assert len(testing.drain(queue).failed) == 2

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.save", full)
        queue.push(jobs.make_thumbnail.bind(str(good), str(tmp_path / "good.jpg")))
        assert len(testing.drain(queue).retried) == 1
    assert len(testing.drain(queue, delayed=True).completed) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "good.jpg", "good.png"]
