"""A plan drawn on the setup page in a real Chromium: by mouse, finger and keyboard, checked, saved, loaded and used."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from guidance.bus.messages import ChooseSource, NextPatient, PinField, UsePlan
from guidance.casebook.plans import PlansFolder
from guidance.plan import load_plan
from guidance.records import Registration, View
from tests.browser.room import FINDINGS, Dashboard, FakeService, Scene

pytestmark = pytest.mark.browser

PATIENCE_S = 30
RECORDINGS = Path(__file__).parents[2] / "replay_fixtures"
CASES = json.loads((Path(__file__).parents[1] / "unit" / "drawing_cases.json").read_text(encoding="utf-8"))
WIDTH_PX, HEIGHT_PX = 512, 480

PICTURE_WIDTH = """
const { picture } = await import("./setup_server.js");
return (await picture("newest")).bitmap.width;
"""
RUN = """
const done = arguments[arguments.length - 1];
(async () => { %s })().then(done, (error) => done({failed: String(error)}));
"""


@pytest.fixture(scope="module")
def drawing_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeService, Dashboard, PlansFolder]]:
    folder = tmp_path_factory.mktemp("plans")
    with (
        FakeService() as service,
        Dashboard(
            service.endpoints, service.keys, "--plans", str(folder), "--recordings", str(RECORDINGS)
        ) as dashboard,
    ):
        yield service, dashboard, PlansFolder(folder)


@pytest.fixture
def service(drawing_room: tuple[FakeService, Dashboard, PlansFolder]) -> FakeService:
    drawing_room[0].scene = Scene()
    drawing_room[0].orders.clear()
    return drawing_room[0]


@pytest.fixture
def plans(drawing_room: tuple[FakeService, Dashboard, PlansFolder]) -> PlansFolder:
    for file in drawing_room[2].folder.glob("*.json"):
        file.unlink()
    return drawing_room[2]


@pytest.fixture
def page(
    chrome: Chrome, service: FakeService, plans: PlansFolder, drawing_room: tuple[FakeService, Dashboard, PlansFolder]
) -> Chrome:
    """The setup page with the AP picture frozen, and the three zones that are watched on it."""
    chrome.get_log("browser")
    chrome.get(drawing_room[1].address + "setup.html")
    wait_until(chrome, lambda: "AP picture of" in text(chrome, "picture-words") or "Freeze" in text(chrome, "answer"))
    if "AP picture of" not in text(chrome, "picture-words"):
        press(chrome, "freeze")
    wait_until(chrome, lambda: len(names(chrome)) == 3)
    return chrome


def wait_until(page: Chrome, true: Any) -> None:
    WebDriverWait(page, PATIENCE_S, 0.05).until(lambda _: true(), f"not so in time; the page says {said(page)!r}")


def said(page: Chrome) -> str:
    return f"{text(page, 'answer')} | {text(page, 'faults')} | {text(page, 'hint')}"


def text(page: Chrome, part: str) -> str:
    return page.find_element(By.ID, part).text


def press(page: Chrome, part: str) -> None:
    page.find_element(By.ID, part).click()


def names(page: Chrome) -> list[str]:
    # At once: the list may be made anew between two questions.
    script = "return [...document.querySelectorAll('#zones input')].map((field) => field.value);"
    return [str(name) for name in page.execute_script(script)]


def row(page: Chrome, name: str) -> Any:
    (found,) = [
        line for line in page.find_elements(By.CSS_SELECTOR, "#zones li[data-key]") if name in (names_of(line) or "")
    ]
    return found


def names_of(line: Any) -> str | None:
    return str(line.find_element(By.TAG_NAME, "input").get_attribute("value"))


def rename(page: Chrome, name: str, to: str) -> None:
    field = row(page, name).find_element(By.TAG_NAME, "input")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(to)


def at_board(page: Chrome, x: float, y: float) -> tuple[int, int]:
    """Where a picture's pixel is on the board, from the board's middle, while all of the picture is seen."""
    board = page.find_element(By.ID, "board")
    zoom = min(board.size["width"] / WIDTH_PX, board.size["height"] / HEIGHT_PX)
    return round((x - (WIDTH_PX - 1) / 2) * zoom), round((y - (HEIGHT_PX - 1) / 2) * zoom)


def click(page: Chrome, *corners: tuple[float, float]) -> None:
    board = page.find_element(By.ID, "board")
    for corner in corners:
        chain = ActionChains(page, duration=30)
        chain.move_to_element_with_offset(board, *at_board(page, *corner)).click().perform()


def drag(page: Chrome, start: tuple[float, float], end: tuple[float, float]) -> None:
    board = page.find_element(By.ID, "board")
    chain = ActionChains(page, duration=30).move_to_element_with_offset(board, *at_board(page, *start)).click_and_hold()
    chain.move_to_element_with_offset(board, *at_board(page, *end)).release().perform()


def keys(page: Chrome, *pressed: str) -> None:
    page.find_element(By.ID, "board").send_keys(*pressed)


def ordered(page: Chrome, service: FakeService) -> Any:
    """What is ordered when the plan is put to use."""
    service.orders.clear()
    press(page, "use")
    wait_until(page, lambda: service.orders)
    return service.orders[-1].command


def polygons(page: Chrome, service: FakeService) -> dict[str, list[tuple[float, float]]]:
    command = ordered(page, service)
    assert isinstance(command, UsePlan)
    return {zone.id: zone.polygon_px for zone in command.plan.zones}


def draw(page: Chrome, corners: list[tuple[float, float]], close: str = Keys.ENTER) -> None:
    press(page, "draw-polygon")
    click(page, *corners)
    keys(page, close)


def same(drawn: list[tuple[float, float]], meant: list[tuple[float, float]], within_px: float = 1.0) -> bool:
    return len(drawn) == len(meant) and all(
        abs(a - b) <= within_px
        for one, other in zip(drawn, meant, strict=True)
        for a, b in zip(one, other, strict=True)
    )


SQUARE = [(300.0, 320.0), (360.0, 320.0), (360.0, 380.0), (300.0, 380.0)]


def test_what_is_watched_on_the_frozen_picture_is_where_drawing_begins(page: Chrome, service: FakeService) -> None:
    assert names(page) == ["foramen_S1L", "canal", "ala_L"]
    command = ordered(page, service)
    assert isinstance(command, UsePlan)
    (drawn_on,) = command.drawn_on
    assert drawn_on.view is View.AP
    assert drawn_on.pulse > 0
    assert command.plan.picture_px == (WIDTH_PX, HEIGHT_PX)
    assert service.orders[-1].case == "case"
    assert [message for message in page.get_log("browser") if message["source"] != "network"] == []


def test_an_area_is_drawn_corner_by_corner_and_closed_on_the_first(page: Chrome, service: FakeService) -> None:
    press(page, "draw-polygon")
    click(page, *SQUARE, SQUARE[0])
    assert names(page)[-1] == "zone_1"
    rename(page, "zone_1", "canal_S2")
    assert same(polygons(page, service)["canal_S2"], SQUARE)


def test_corners_are_dragged_put_in_and_taken_out_and_the_whole_is_moved(page: Chrome, service: FakeService) -> None:
    draw(page, SQUARE)
    drag(page, SQUARE[1], (380, 310))
    drag(page, (330, 380), (330, 400))  # an edge gets a corner
    moved = [SQUARE[0], (380.0, 310.0), SQUARE[2], (330.0, 400.0), SQUARE[3]]
    assert same(polygons(page, service)["zone_1"], moved, 1.5)
    keys(page, Keys.DELETE)
    assert same(polygons(page, service)["zone_1"], moved[:3] + moved[4:], 1.5)
    drag(page, (330, 350), (350, 370))
    whole = [(x + 20, y + 20) for x, y in moved[:3] + moved[4:]]
    assert same(polygons(page, service)["zone_1"], whole, 2.5)


def test_every_step_is_undone_and_done_again(page: Chrome, service: FakeService) -> None:
    draw(page, SQUARE)
    drag(page, SQUARE[1], (380, 310))
    keys(page, Keys.CONTROL, "z")
    assert same(polygons(page, service)["zone_1"], SQUARE)
    keys(page, Keys.CONTROL, "z")
    assert "zone_1" not in names(page)
    keys(page, Keys.CONTROL + Keys.SHIFT, "z")
    keys(page, Keys.CONTROL + Keys.SHIFT, "z")
    assert same(polygons(page, service)["zone_1"], [SQUARE[0], (380.0, 310.0), *SQUARE[2:]])
    assert page.find_element(By.ID, "redo").get_attribute("disabled") is not None
    for _ in range(30):
        if page.find_element(By.ID, "undo").get_attribute("disabled") is None:
            press(page, "undo")
    assert "zone_1" not in names(page)


def test_a_zone_is_drawn_and_shaped_by_keys_alone(page: Chrome, service: FakeService) -> None:
    page.find_element(By.ID, "draw-polygon").send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "board"
    here = page.switch_to.active_element
    here.send_keys(
        " ", Keys.SHIFT, Keys.ARROW_RIGHT * 4, Keys.NULL, " ", Keys.SHIFT, Keys.ARROW_DOWN * 4, Keys.NULL, " "
    )
    here.send_keys(Keys.ENTER)
    drawn = polygons(page, service)["zone_1"]
    (x, y) = drawn[0]
    first, second = round(x), round(y)
    assert same(drawn, [(x, y), (first + 40, second), (first + 40, second + 40)])
    page.find_element(By.ID, "board").send_keys(".", ".", Keys.ARROW_LEFT * 3, Keys.SHIFT, Keys.ARROW_UP)
    shaped = polygons(page, service)["zone_1"]
    assert same(shaped, [drawn[0], (drawn[1][0] - 3, drawn[1][1] - 10), drawn[2]], 0.1)
    keys(page, "i")
    assert len(polygons(page, service)["zone_1"]) == 4
    keys(page, Keys.ESCAPE)
    keys(page, "n", "n", Keys.DELETE)
    assert len(names(page)) == 3


def test_a_zone_is_drawn_by_a_finger(page: Chrome, service: FakeService) -> None:
    press(page, "draw-polygon")
    board = page.find_element(By.ID, "board")
    finger = PointerInput(interaction.POINTER_TOUCH, "finger")
    for corner in [*SQUARE, SQUARE[0]]:
        touch = ActionBuilder(page, mouse=finger, duration=30)
        near = (corner[0] + 12, corner[1] + 9)
        touch.pointer_action.move_to(board, *at_board(page, *near)).pointer_down()
        # The corner is put where the finger leaves, which the magnifier shows.
        touch.pointer_action.move_to(board, *at_board(page, *corner)).pointer_up()
        touch.perform()
    assert same(polygons(page, service)["zone_1"], SQUARE)


def test_corners_snap_to_those_of_other_zones(page: Chrome, service: FakeService) -> None:
    draw(page, SQUARE)
    draw(page, [(363.0, 322.0), (420.0, 330.0), (363.0, 378.0)])
    drawn = polygons(page, service)
    assert drawn["zone_2"][0] == drawn["zone_1"][1]
    press(page, "snap")
    draw(page, [(430.0, 333.0), (460.0, 333.0), (440.0, 360.0)])
    drag(page, (430, 333), (422, 332))
    assert polygons(page, service)["zone_3"][0] != drawn["zone_2"][1]


def test_a_line_becomes_a_strip_beside_it_of_the_width_that_is_said(page: Chrome, service: FakeService) -> None:
    press(page, "draw-line")
    click(page, (320, 300), (320, 400))
    keys(page, Keys.ENTER)
    for part, mm in (("strip-near", "0"), ("strip-far", "8")):
        field = page.find_element(By.ID, part)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(mm)
    # 8 mm at the scene's 0.4 mm a pixel; down a picture, the left hand is on its right.
    right = polygons(page, service)["zone_1"]
    assert same(right, [(320, 300), (320, 400), (340, 400), (340, 300)])
    press(page, "strip-side")
    assert same(polygons(page, service)["zone_1"], [(320, 300), (320, 400), (300, 400), (300, 300)])


def test_a_template_has_the_size_that_the_scale_makes_of_it(page: Chrome, service: FakeService) -> None:
    Select(page.find_element(By.ID, "template")).select_by_visible_text("S1, S2 foramina, prone")
    press(page, "put-template")
    drawn = polygons(page, service)
    assert {"foramen_S1L_2", "foramen_S1R", "foramen_S2L", "foramen_S2R"} <= drawn.keys()
    xs = [x for x, _ in drawn["foramen_S2R"]]
    assert (max(xs) - min(xs)) * 0.4 == pytest.approx(13.1, abs=0.1)
    # Prone, the patient's left is on the picture's left.
    assert max(x for x, _ in drawn["foramen_S2L"]) < min(xs)


def test_what_is_drawn_wrong_is_told_at_once_and_is_not_used(page: Chrome, service: FakeService) -> None:
    service.orders.clear()
    press(page, "draw-polygon")
    click(page, SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3])
    keys(page, Keys.ENTER)
    assert "“zone_1” crosses itself" in text(page, "faults")
    press(page, "use")
    wait_until(page, lambda: "crosses itself" in text(page, "answer"))
    rename(page, "zone_1", "canal")
    assert "“canal” names 2 zones" in text(page, "faults")
    assert service.orders == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_page_tells_the_same_faults_as_the_server(page: Chrome, case: dict[str, Any]) -> None:
    check = """
    const { faultsOf } = await import("./setup_checks.js");
    const field = [[0, 0], [100, 0], [100, 80], [0, 80]];
    return faultsOf(arguments_[0], 120, 100, () => field);
    """
    script = "const arguments_ = arguments;" + RUN % check
    found = page.execute_async_script(script, case["zones"])
    told = [["error" if fault["isError"] else "warning", fault["zone"], fault["text"]] for fault in found]
    assert told == [expected[:3] for expected in case["faults"]]
    for fault, (*_, at) in zip(found, case["faults"], strict=True):
        assert fault["at"] is None if at is None else fault["at"] == pytest.approx(at, abs=0.5)


def test_a_plan_is_saved_loaded_and_is_the_contracts_file(
    page: Chrome, service: FakeService, plans: PlansFolder
) -> None:
    draw(page, SQUARE)
    press(page, "tab-plans")
    page.find_element(By.ID, "plan-name").send_keys("first")
    press(page, "save")
    wait_until(page, lambda: "Saved as “first”" in text(page, "answer"))
    plan = load_plan(plans.folder / "first.json")
    assert [zone.id for zone in plan.zones] == ["foramen_S1L", "canal", "ala_L", "zone_1"]
    assert plan.views[0].view is View.AP
    press(page, "save")
    wait_until(page, lambda: page.find_element(By.ID, "question").is_displayed())
    press(page, "question-no")
    press(page, "tab-zones")
    row(page, "zone_1").find_elements(By.TAG_NAME, "button")[-1].click()
    assert len(names(page)) == 3
    press(page, "tab-plans")
    page.find_element(By.CSS_SELECTOR, '[aria-label="Load of first"]').click()
    wait_until(page, lambda: "is loaded" in text(page, "answer"))
    press(page, "tab-zones")
    assert names(page) == ["foramen_S1L", "canal", "ala_L", "zone_1"]
    assert same(polygons(page, service)["zone_1"], SQUARE)


def test_the_last_cases_zones_are_copied_and_nothing_else_of_it(
    page: Chrome, service: FakeService, plans: PlansFolder
) -> None:
    draw(page, SQUARE)
    press(page, "tab-plans")
    page.find_element(By.ID, "plan-name").send_keys("last")
    press(page, "save")
    wait_until(page, lambda: "Saved" in text(page, "answer"))
    press(page, "tab-zones")
    for name in names(page):
        row(page, name).find_elements(By.TAG_NAME, "button")[-1].click()
    assert names(page) == []
    press(page, "tab-plans")
    press(page, "copy-last")
    wait_until(page, lambda: "4 zones of “last”" in text(page, "answer"))
    assert len(polygons(page, service)) == 4


def test_a_local_file_that_is_no_plan_is_refused_in_one_sentence(page: Chrome, tmp_path: Path) -> None:
    press(page, "tab-plans")
    for name, content, why in (
        ("words.json", "not json", "is not JSON; expected a plan.json"),
        ("other.json", '{"schema": 1, "zones": [{"id": "a", "kind": "danger", "polygon_px": []}]}', "zones.0.kind"),
    ):
        (tmp_path / name).write_text(content)
        page.find_element(By.ID, "file").send_keys(str(tmp_path / name))
        wait_until(page, lambda why=why: why in text(page, "answer"))
    (tmp_path / "good.json").write_text(json.dumps({"schema": 1, "zones": [], "needle_diameter_mm": 2.41}))
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "good.json"))
    wait_until(page, lambda: "“good.json” is loaded" in text(page, "answer"))


def test_a_distance_that_is_drawn_and_said_makes_the_scale(page: Chrome, service: FakeService) -> None:
    press(page, "tab-scale")
    press(page, "draw-ruler")
    click(page, (200, 240), (300, 240))
    page.find_element(By.ID, "ruler-mm").send_keys("50")
    wait_until(page, lambda: "mm a pixel, to ±1" in text(page, "ruler-words"))
    press(page, "use-ruler")
    command = ordered(page, service)
    assert command.plan.mm_per_px == pytest.approx(0.5, abs=0.006)
    # The scene's needle is 7 pixels wide: of 11 G, which is 3.05 mm, the plan's scale is 15 % too large at most.
    wait_until(page, lambda: "0.4357" in text(page, "scale-words"))
    assert text(page, "scale-warning") == ""
    Select(page.find_element(By.ID, "gauge")).select_by_visible_text("13 G, 2.41 mm")
    wait_until(page, lambda: "45 % more than the needle" in text(page, "scale-warning"))
    assert ordered(page, service).plan.needle_diameter_mm == 2.41


def test_a_threshold_within_its_bounds_goes_into_the_plan(page: Chrome, service: FakeService) -> None:
    press(page, "tab-limits")
    field = page.find_element(By.ID, "limit-cement_in_zone_mm2")
    assert field.get_attribute("placeholder") == "4"
    field.send_keys("99")
    assert "expected 0.5 to 50 mm²" in text(page, "answer")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("2.5")
    command = ordered(page, service)
    assert command.plan.model_dump()["limits"] == {"cement_in_zone_mm2": 2.5}


def test_the_field_is_corrected_turned_and_found_again(page: Chrome, service: FakeService) -> None:
    press(page, "tab-field")
    wait_until(page, lambda: "circle" in text(page, "field-words"))
    press(page, "field-edit")
    drag(page, (256, 240), (246, 245))  # a circle is held by its middle …
    service.orders.clear()
    press(page, "field-use")
    wait_until(page, lambda: service.orders)
    command = service.orders[-1].command
    assert isinstance(command, PinField)
    assert command.polygon_px is not None
    xs, ys = zip(*command.polygon_px, strict=True)
    assert len(xs) == 64
    assert (max(ys) + min(ys)) / 2 == pytest.approx(245, abs=1.5)
    assert command.bone_dark is None
    service.orders.clear()
    press(page, "field-flip")
    press(page, "question-yes")
    wait_until(page, lambda: service.orders)
    assert service.orders[-1].command == PinField(polygon_px=None, bone_dark=False)
    press(page, "field-auto")
    wait_until(page, lambda: len(service.orders) == 2)
    assert service.orders[-1].command == PinField()


def test_sources_are_listed_previewed_and_chosen_when_it_is_confirmed(page: Chrome, service: FakeService) -> None:
    press(page, "tab-source")
    wait_until(page, lambda: "leak_foramen" in text(page, "sources"))
    assert "Grabbers: none" in page.find_element(By.ID, "sources").get_attribute("textContent")
    page.find_element(By.CSS_SELECTOR, '[aria-label="Preview recording swing_ap_lateral"]').click()
    wait_until(page, lambda: "one frame of just now" in text(page, "preview-words"))
    assert page.find_element(By.ID, "preview").is_displayed()
    assert service.orders == []
    watch = page.find_element(By.CSS_SELECTOR, '[aria-label="Watch phantom leak_foramen"]')
    watch.click()
    assert "A live case is being watched" in text(page, "question-words")
    press(page, "question-no")
    assert service.orders == []
    watch.click()
    press(page, "question-yes")
    wait_until(page, lambda: service.orders)
    assert service.orders[-1].command == ChooseSource(source="phantom://leak_foramen", confirmed=True)


def test_the_next_patient_begins_when_it_is_confirmed(page: Chrome, service: FakeService) -> None:
    press(page, "tab-source")
    press(page, "next-patient")
    assert "Zones and alerts of this one are not taken along" in text(page, "question-words")
    press(page, "question-no")
    assert service.orders == []
    press(page, "next-patient")
    press(page, "question-yes")
    wait_until(page, lambda: service.orders)
    assert service.orders[-1].command == NextPatient(confirmed=True)


def test_a_plan_is_downloaded_as_it_would_be_saved(page: Chrome, service: FakeService, tmp_path: Path) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    draw(page, SQUARE)
    press(page, "tab-plans")
    page.find_element(By.ID, "plan-name").send_keys("mine")
    press(page, "download")
    file = tmp_path / "mine.json"
    wait_until(page, file.exists)
    assert [zone.id for zone in load_plan(file).zones] == ["foramen_S1L", "canal", "ala_L", "zone_1"]


def test_a_zone_that_reaches_beyond_the_picture_is_cut_at_its_border_and_it_is_said(
    page: Chrome, service: FakeService
) -> None:
    draw(page, [(300.0, 440.0), (360.0, 440.0), (360.0, 470.0), (300.0, 470.0)])
    press(page, "draw-line")
    click(page, (40, 440), (140, 440))
    keys(page, Keys.ENTER)
    press(page, "strip-side")
    wait_until(page, lambda: "“zone_2” is cut at the picture's border" in text(page, "faults"))
    ys = [y for _, y in polygons(page, service)["zone_2"]]
    assert max(ys) == HEIGHT_PX - 1


def test_pictures_of_another_size_begin_with_nothing_and_undo_brings_it_back(
    page: Chrome, service: FakeService
) -> None:
    draw(page, SQUARE)
    service.scene = Scene(findings=replace(FINDINGS, zones=()), pixels=np.full((240, 256), 90, np.uint8))
    wait_until(
        page,
        lambda: page.execute_async_script(RUN % PICTURE_WIDTH) == 256,
    )
    press(page, "freeze")
    wait_until(page, lambda: names(page) == [])
    assert "put away" in text(page, "answer")
    press(page, "undo")
    assert len(names(page)) == 4


def moved(x: float, y: float, plan: str | None = None) -> Scene:
    """The scene with its anatomy so far from where it was on the picture that the plan in use is drawn on."""
    return Scene(findings=replace(FINDINGS, registration=Registration((x, y), 0.0, 0.97, ok=True)), plan=plan)


def freeze_again(page: Chrome, shift_px: tuple[float, float]) -> None:
    script = """
    const { picture } = await import("./setup_server.js");
    return (await picture("newest")).header.findings.registration.shift_px;
    """
    wait_until(page, lambda: page.execute_async_script(RUN % script) == list(shift_px))
    press(page, "freeze")


def test_what_is_drawn_goes_with_the_anatomy_to_the_next_picture(page: Chrome, service: FakeService) -> None:
    draw(page, SQUARE)
    service.scene = moved(12, -7)
    freeze_again(page, (12, -7))
    there = [(x + 12, y - 7) for x, y in SQUARE]
    wait_until(page, lambda: same(polygons(page, service)["zone_1"], there))
    # Undone is what was drawn, not where it lies.
    keys(page, Keys.CONTROL, "z")
    assert "zone_1" not in names(page)
    keys(page, Keys.CONTROL + Keys.SHIFT, "z")
    assert same(polygons(page, service)["zone_1"], there)


def test_after_a_plan_is_used_motion_counts_from_its_picture(page: Chrome, service: FakeService) -> None:
    service.scene = moved(12, -7)
    freeze_again(page, (12, -7))
    draw(page, SQUARE)
    command = ordered(page, service)
    wait_until(page, lambda: "In use from now on" in text(page, "answer"))
    service.scene = moved(3, 1, plan=command.plan.version)
    wait_until(page, lambda: "as drawn here" in text(page, "in-use"))
    freeze_again(page, (3, 1))
    wait_until(page, lambda: same(polygons(page, service)["zone_1"], [(x + 3, y + 1) for x, y in SQUARE]))


def test_pictures_whose_motion_counts_from_different_plans_are_not_compared(page: Chrome, service: FakeService) -> None:
    draw(page, SQUARE)
    service.scene = moved(12, -7, plan="somebody else's")
    wait_until(page, lambda: "somebody else's" in text(page, "in-use"))
    freeze_again(page, (12, -7))
    wait_until(page, lambda: "look at each" in text(page, "answer"))
    assert same(polygons(page, service)["zone_1"], SQUARE)
