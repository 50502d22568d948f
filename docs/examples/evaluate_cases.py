"""Holds cases to their bounds in any CI, without a test framework. `python evaluate_cases.py junit.xml cases/*/`"""

import sys
from pathlib import Path

from guidance.evaluation.report import as_junit
from guidance.evaluation.run import evaluate_cases

cases = evaluate_cases(Path(name) for name in sys.argv[2:])
Path(sys.argv[1]).write_text(as_junit(cases), encoding="utf-8")
for case in cases:
    shortfalls = [case.error] if case.scores is None else case.scores.shortfalls
    print(f"{case.name}: {'; '.join(map(str, shortfalls)) or 'reaches its bounds'}")
sys.exit(any(case.falls_short for case in cases))
