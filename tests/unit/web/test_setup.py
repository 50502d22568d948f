"""The setup page's doors over a real socket, without a browser: what they refuse, and in which words."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guidance.settings import Settings
from tests.browser.room import Dashboard, FakeService
from web.setup import limits_json

ZONE = {"id": "canal", "kind": "forbidden", "polygon_px": [[10, 10], [60, 10], [60, 60]], "view": "ap"}
PLAN = {"schema": 1, "picture_px": [512, 480], "zones": [ZONE], "views": [{"view": "ap", "reference_s": 1.0}]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeService, Dashboard, Path]]:
    folder = tmp_path_factory.mktemp("plans")
    with FakeService() as service, Dashboard(service.endpoints, service.keys, "--plans", str(folder)) as dashboard:
        yield service, dashboard, folder


def asked(dashboard: Dashboard, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{dashboard.address}setup/{path}", data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_plan_is_kept_under_its_name_and_given_back(running: tuple[FakeService, Dashboard, Path]) -> None:
    _, dashboard, folder = running
    status, told = asked(dashboard, "PUT", "plans/one", PLAN)
    assert status == 200
    assert asked(dashboard, "GET", "plans/one") == (200, PLAN)
    assert [(plan["name"], plan["version"]) for plan in asked(dashboard, "GET", "plans")[1]] == [
        ("one", told["version"])
    ]
    assert asked(dashboard, "PUT", "plans/one", PLAN)[0] == 409
    assert asked(dashboard, "PUT", "plans/one?replace=true", PLAN)[0] == 200
    assert [path.name for path in folder.iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    ("name", "plan", "status", "why"),
    [
        ("..%2Fone", PLAN, (404, 405, 422), None),
        ("..%5cone", PLAN, (422,), "expected up to 64 letters"),
        (".one", PLAN, (422,), "expected up to 64 letters"),
        (
            "two",
            PLAN | {"zones": [ZONE | {"polygon_px": [[1, 1], [60, 60], [60, 1], [1, 60]]}]},
            (422,),
            "crosses itself",
        ),
        ("two", PLAN | {"zones": [ZONE | {"polygon_px": [[1, 1], [900, 1], [1, 60]]}]}, (422,), "inside the 512 x 480"),
        ("two", PLAN | {"zones": [ZONE, ZONE]}, (422,), "'canal' stands twice"),
        ("two", PLAN | {"limits": {"cement_in_zone_mm2": 99}}, (422,), "limits.cement_in_zone_mm2"),
        ("two", PLAN | {"surgeon": "x"}, (422,), "surgeon"),
        ("two", b"{", (422,), "plan"),
        ("two", b" " * 70_000, (413,), "64 KiB"),
        ("two", {"schema": 1}, (422,), "picture_px is missing"),
    ],
)
def test_what_is_no_plan_is_not_kept(
    running: tuple[FakeService, Dashboard, Path], name: str, plan: Any, status: tuple[int, ...], why: str | None
) -> None:
    _, dashboard, folder = running
    before = sorted(path.name for path in folder.iterdir())
    code, answer = asked(dashboard, "PUT", f"plans/{name}", plan)
    assert code in status
    assert why is None or why in answer["error"]
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_order_for_another_case_reaches_nobody(running: tuple[FakeService, Dashboard, Path]) -> None:
    service, dashboard, _ = running
    order = {"kind": "plan", "plan": PLAN, "drawn_on": [{"view": "ap", "pulse": 3}]}
    status, answer = asked(dashboard, "POST", "use", {"case": "yesterday", "order": order})
    assert (status, "A new case has begun" in answer["error"]) == (409, True)
    assert service.orders == []


def test_a_source_that_is_not_of_the_list_is_neither_shown_nor_watched(
    running: tuple[FakeService, Dashboard, Path],
) -> None:
    service, dashboard, _ = running
    assert asked(dashboard, "POST", "preview", {"source": "/etc/passwd"})[0] == 404
    order = {"kind": "source", "source": "/etc/passwd"}
    assert asked(dashboard, "POST", "source", {"case": "case", "order": order})[0] == 404
    assert service.orders == []


def test_every_threshold_of_a_plan_is_told_with_its_unit_and_bounds() -> None:
    told = {limit["name"]: limit for limit in limits_json()}
    assert told["cement_in_zone_mm2"]["unit"] == "mm²"
    assert all(limit["least"] <= limit["default"] <= limit["most"] for limit in told.values())
    assert told.keys() == set(list(Settings.model_fields)[: len(told)])
