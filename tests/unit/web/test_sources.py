"""Which sources the setup page offers, and what a preview of one comes to."""

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

from web.sources import NoPreviewError, offers, preview, same_device

CASES = Path(__file__).parents[3] / "replay_fixtures"


def test_recordings_of_the_folder_and_the_phantoms_are_offered(tmp_path: Path) -> None:
    (tmp_path / "case.mkv").write_bytes(b"0" * 2_000_000)
    (tmp_path / ".hidden").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "older").mkdir()
    found = {offer.spec: offer for offer in offers(tmp_path)}
    assert [offer.name for offer in found.values() if offer.kind == "recording"] == ["case.mkv", "older"]
    assert found[str(tmp_path / "case.mkv")].words == "2.0 MB"
    assert found["phantom://leak_foramen"].kind == "phantom"
    assert not [offer for offer in offers(None) if offer.kind == "recording"]


def test_a_preview_is_one_frame_of_the_source() -> None:
    jpeg = asyncio.run(preview(str(CASES / "leak_foramen")))
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (288, 288)
    assert picture.std() > 10


@pytest.mark.parametrize("spec", ["/nowhere/at/all.mkv", "v4l2:///dev/video99?input=0"])
def test_a_source_that_cannot_be_opened_says_why_in_one_line(spec: str) -> None:
    with pytest.raises(NoPreviewError) as why:
        asyncio.run(preview(spec))
    assert spec.partition("?")[0].removeprefix("v4l2://") in str(why.value)
    assert "\n" not in str(why.value)


def test_the_inputs_of_one_card_are_one_device() -> None:
    assert same_device("v4l2:///dev/video0?input=1", "v4l2:///dev/video0?input=0&rate=30")
    assert not same_device("v4l2:///dev/video1?input=0", "v4l2:///dev/video0?input=0")
    assert not same_device("phantom://demo", None)
