"""The bus's words as JSON Schema, for whoever speaks it from another language.

python -m guidance.bus.schema docs/schema
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from guidance.bus.messages import (
    SCHEMA,
    AlertEnvelope,
    Answer,
    Call,
    EarlyHeader,
    FindingsEnvelope,
    FrameHeader,
    HealthEnvelope,
    Order,
    SnapshotEnvelope,
)

MODELS: dict[str, type[BaseModel]] = {
    "findings": FindingsEnvelope,
    "alerts": AlertEnvelope,
    "health": HealthEnvelope,
    "snapshot": SnapshotEnvelope,
    "frame": FrameHeader,
    "picture": EarlyHeader,
    "call": Call,
    "order": Order,
    "answer": Answer,
}


def schemas() -> dict[str, str]:
    """The text of each schema's file, by its name."""
    return {f"{name}.json": _text(name, model) for name, model in MODELS.items()}


def _text(name: str, model: type[BaseModel]) -> str:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:fluoroguide:bus:{SCHEMA}:{name}",
        **model.model_json_schema(by_alias=True, mode="validation"),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> None:
    """Write each schema's file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
