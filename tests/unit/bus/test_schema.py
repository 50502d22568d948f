"""The published JSON Schema is what the bus speaks."""

from pathlib import Path

from guidance.bus.schema import MODELS, schemas

FOLDER = Path(__file__).parents[3] / "docs" / "schema"


def test_the_published_schemas_are_those_of_the_models() -> None:
    """Where this fails: `python -m guidance.bus.schema docs/schema`, and read docs/bus.md on what may change."""
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()} == schemas()


def test_every_schema_names_its_version() -> None:
    for name, text in schemas().items():
        assert f"urn:fluoroguide:bus:1:{name.removesuffix('.json')}" in text
        assert '"schema"' in text
    assert len(MODELS) == 9
