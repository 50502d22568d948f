from dataclasses import dataclass
from collections.abc import Callable
from typing import Any
@dataclass
class Twin:
    kernel: Callable[..., Any]; numpy: Any=None; library: Any=None; library_name: Any=None
TWINS=[]
