from pathlib import Path

import pytest

from tests.unit.handon.made import write_case


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A case whose patient is known."""
    return write_case(tmp_path / "case")
