"""The pictures of the documentation."""

from dataclasses import replace

from guidance.evaluation.stage_pictures import STAGES, stage_pictures


def test_every_stage_has_a_picture_that_shows_something() -> None:
    early = [replace(stage, at_s=0.4) for stage in STAGES]
    pictures = dict(stage_pictures(early))
    assert pictures.keys() == {stage.name for stage in STAGES}
    # Before cement is watched for nothing counts as denser.
    assert [name for name, picture in pictures.items() if picture.std() == 0] == ["change"]
