"""The command line. Exit status: 0 done; 1 the work itself fell short; 2 wrong usage or unreadable input."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Any

from tqdm import tqdm

import guidance
from drivers.errors import SourceError
from drivers.frame import SourceInfo
from guidance import afterwards, archiving, review
from guidance.accounts import AccountsError, Role, add_account, add_token, read_accounts, remove_account, require_new
from guidance.admission import Admission, AdmissionError
from guidance.bench.command import add_to as add_bench
from guidance.bus.keys import KeysError, client_keys, make_keys
from guidance.bus.publisher import BusError
from guidance.casebook import field_pins, plans
from guidance.casebook.alarm_log import AlarmLogError, default_path
from guidance.casebook.archive import ArchiveError
from guidance.casebook.case import CaseError
from guidance.casebook.judged_truth import NotJudgedError
from guidance.casebook.judgements import JudgementError
from guidance.casebook.replay import OutputError, replay
from guidance.casebook.results import ResultsError
from guidance.handon import HandOnError
from guidance.handon.commands import add_commands as add_handing_on
from guidance.opening import open_spec, plan_for
from guidance.phantom.scenario import ScenarioError
from guidance.plan import PlanError
from guidance.settings import SettingsError, load_settings

DEMO = "phantom://demo"

UNUSABLE = (
    SourceError,
    PlanError,
    SettingsError,
    OutputError,
    BusError,
    KeysError,
    AccountsError,
    AdmissionError,
    AlarmLogError,
    ArchiveError,
    CaseError,
    JudgementError,
    NotJudgedError,
    ScenarioError,
    HandOnError,
    field_pins.FieldPinsError,
    ResultsError,
)
"""What is wrong with the input or the usage, each told in one line; anything else is a bug and shows its trace."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except UNUSABLE as error:
        print(f"fluoroguide: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does: nothing is left to tell it.
        sys.stderr.close()
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fluoroguide",
        description="Watches C-arm fluoroscopy for needles, nerve roots and cement leakage. "
        "Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"fluoroguide {guidance.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", _demo, "the whole service on the built-in phantom")
    demo.add_argument("--scenario", default=DEMO, help="a phantom:// URL (default: %(default)s)")
    _add_service_options(demo)

    serve = command("serve", _serve, "the whole service on a source")
    serve.add_argument("--source", required=True, help="a path or URL: video, images, DICOM, case, phantom://")
    serve.add_argument("--plan", type=Path, help="the operator's plan.json")
    serve.add_argument("--loop", action="store_true", help="begin a recording anew when it ends")
    _add_service_options(serve)

    replay_ = command("replay", _replay, "analyse a recording: findings, alerts, summary, annotated video")
    replay_.add_argument("source", help="a path or URL: video, images, DICOM, case, phantom://")
    replay_.add_argument("--plan", type=Path, help="the operator's plan.json")
    replay_.add_argument("--out", type=Path, required=True, help="folder for the results")
    replay_.add_argument("--annotated", action="store_true", help="also write annotated.mp4")
    replay_.add_argument("--settings", type=Path, help="JSON file of thresholds")
    replay_.add_argument("--threads", type=int, choices=(1, 2), default=2, help="2 decodes ahead of the analysis")

    evaluate = command("evaluate", _evaluate, "replay fixture cases, or a campaign of simulated ones, and score them")
    evaluate.add_argument("cases", type=Path, nargs="*", metavar="CASE")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of a table")
    evaluate.add_argument("--junit", type=Path, metavar="FILE", help="also as JUnit's XML, for a CI server")
    evaluate.add_argument(
        "--html", type=Path, metavar="FILE", help="also as a report with pictures of the worst frames"
    )
    campaign = evaluate.add_argument_group("campaign", "procedures drawn at random instead of cases")
    campaign.add_argument(
        "--campaign", nargs="?", choices=("needles", "leaks", "roots"), const="leaks", help="what for (default: leaks)"
    )
    campaign.add_argument("--trials", type=int, default=110, help="how many (default: %(default)s)")
    campaign.add_argument("--seed", type=int, default=1, help="which (default: %(default)s)")
    campaign.add_argument("--ct", type=Path, help="a CT volume as some of the patients: .nii.gz or a DICOM folder")
    campaign.add_argument("--out", type=Path, metavar="FILE", help="keeps each trial's notes, and goes on from there")
    campaign.add_argument("--jobs", type=int, help="processes (default: one a processor)")

    afterwards.add_to(command)

    phantom = command("phantom", _phantom, "render a simulated procedure with its truth")
    phantom.add_argument("scenario", help="a scenario's name or file; `list` names the built-in ones")
    phantom.add_argument("--out", type=Path, help="the case's folder")
    phantom.add_argument("--seed", type=int, help="another patient and other noise")
    phantom.add_argument("--ct", type=Path, help="a CT volume as the patient: .nii.gz or a DICOM folder")
    phantom.add_argument("--size", type=int, help="side of the picture in pixels")

    listen = command("listen", _listen, "print the bus's messages")
    listen.add_argument("--connect", metavar="ENDPOINT", help="default: the service's usual one on this machine")
    listen.add_argument("--keys", type=Path, metavar="FOLDER", help="a client's keys, for a bus beyond this machine")

    keys = command("keys", _keys, "make the keys of a bus beyond this machine")
    keys.add_argument("folder", type=Path, metavar="FOLDER", help="where they are kept")
    keys.add_argument(
        "--client", action="append", default=[], metavar="NAME", help="let in; may be given several times"
    )

    accounts = command("accounts", _accounts, "say who may open the dashboard, and who may give orders")
    accounts.add_argument("file", type=Path, metavar="FILE", help="where they are kept: no password is in it")
    accounts.add_argument("--remove", metavar="NAME", help="let nobody in under that name, from this moment on")
    added = accounts.add_mutually_exclusive_group()
    added.add_argument("--add", metavar="NAME", help="a person, by a password that is asked for or read from stdin")
    added.add_argument("--token", metavar="NAME", help="a program or wall screen, by a token that is printed once")
    accounts.add_argument("--role", choices=[role.value for role in Role], help="may see, or may give orders as well")

    review.add_to(command)

    archive = commands.add_parser("archive", help="cases that were recorded: list, check, import, keep, tidy")
    archiving.add_to(archive)
    add_handing_on(command)

    devices = command("devices", _devices, "list grabbers")
    devices.add_argument("--json", action="store_true", help="print JSON")

    add_bench(command)
    return parser


def _add_service_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address of the dashboard (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port of the dashboard (default: %(default)s)")
    parser.add_argument(
        "--accounts", type=Path, metavar="FILE", help="who may open the dashboard: needed beyond this machine"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the dashboard's certificate, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key, PEM")
    parser.add_argument(
        "--plain-http", action="store_true", help="beyond this machine without TLS: what is in front of it speaks it"
    )
    parser.add_argument("--bus-host", default="127.0.0.1", help="address of the bus (default: %(default)s)")
    parser.add_argument("--bus-port", type=int, default=5570, help="port of the bus, which uses the next three as well")
    parser.add_argument("--keys", type=Path, metavar="FOLDER", help="keys of the bus: needed beyond this machine")
    parser.add_argument(
        "--alarm-log", type=Path, metavar="FILE", help="default: one for each port, in the user's state"
    )
    parser.add_argument("--archive", type=Path, metavar="DIR", help="keep every case in this folder, frame by frame")
    parser.add_argument("--settings", type=Path, help="JSON file of thresholds")
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="recordings that the setup page may choose from")
    parser.add_argument("--plans", type=Path, metavar="DIR", help="where plans are kept; default: in the user's state")


def _demo(options: argparse.Namespace) -> int:
    return _run_service(options, options.scenario, plan=None, loop=True)


def _serve(options: argparse.Namespace) -> int:
    return _run_service(options, options.source, plan=options.plan, loop=options.loop)


def _run_service(options: argparse.Namespace, spec: str, plan: Path | None, loop: bool) -> int:
    from guidance.service import Choice, run_service

    admission = Admission(options.accounts, options.tls_cert, options.tls_key, options.plain_http)
    admission.check(options.host)
    settings = load_settings(options.settings)
    with open_spec(spec) as source:
        case_plan = plan_for(source, spec, plan)
    return run_service(
        lambda: open_spec(spec),
        case_plan,
        settings,
        host=options.host,
        port=options.port,
        admission=admission,
        bus_host=options.bus_host,
        bus_port=options.bus_port,
        keys=options.keys,
        alarm_log=options.alarm_log or (default_path(options.bus_port) if options.bus_port else None),
        loop=loop,
        archive=options.archive,
        plans=options.plans or plans.default_folder(),
        fields=field_pins.default_path(),
        choose=lambda chosen: Choice(chosen, lambda: open_spec(chosen), lambda source: plan_for(source, chosen, None)),
        recordings=options.recordings,
        spec=spec,
    )


def _replay(options: argparse.Namespace) -> int:
    from guidance.service import read_ahead

    settings = load_settings(options.settings)
    with open_spec(options.source) as source:
        plan = plan_for(source, options.source, options.plan)
        with _progress(source.info) as progress, read_ahead(source, enabled=options.threads == 2) as frames:
            replay(
                frames,
                source.info,
                plan,
                settings,
                options.out,
                annotated=options.annotated,
                progress=lambda findings: progress(1),
            )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from guidance.casebook.document import as_html
    from guidance.evaluation.report import as_document, as_json, as_junit, as_table
    from guidance.evaluation.run import evaluate_cases

    if options.campaign:
        return _campaign(options)
    if not options.cases:
        raise CaseError("evaluate: expected CASE folders, or --campaign")
    cases = evaluate_cases(options.cases, with_pictures=options.html is not None)
    scores = [case.scores for case in cases if case.scores is not None]
    print(as_json(scores) if options.json else as_table(scores))
    if options.junit is not None:
        afterwards.write_file(options.junit, as_junit(cases).encode())
    if options.html is not None:
        afterwards.write_file(options.html, as_html(as_document(cases)).encode())
    if unread := [case.error for case in cases if case.error is not None]:
        raise CaseError("; ".join(unread))
    return 1 if any(case.falls_short for case in cases) else 0


def _campaign(options: argparse.Namespace) -> int:
    from guidance.evaluation.campaign import Campaign, as_table, falls_short, run_campaign

    if options.junit is not None or options.html is not None:
        raise CaseError("evaluate --campaign: expected neither --junit nor --html, which are for CASE folders")
    if options.cases or options.trials < 1 or (options.jobs is not None and options.jobs < 1):
        raise CaseError("evaluate --campaign: expected no CASE, and at least one trial and one process")
    campaign = Campaign(options.campaign, options.trials, options.seed, options.ct)
    with tqdm(total=campaign.trials, unit=" trials", disable=None, desc="campaign") as bar:
        notes = run_campaign(campaign, options.out, options.jobs, bar.update)
    print(as_table(campaign, notes))
    return 1 if falls_short(campaign, notes) else 0


def _phantom(options: argparse.Namespace) -> int:
    from guidance.phantom.case import render_case
    from guidance.phantom.scenario import load_scenario, scenario_names

    if options.scenario == "list":
        for name in scenario_names():
            print(f"{name:32} {load_scenario(name).title}")
        return 0
    if options.out is None:
        raise OutputError("phantom: expected --out CASE, the folder to write the case to")
    with tqdm(unit=" frames", disable=None, desc=options.scenario) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        render_case(options.scenario, options.out, options.seed, progress, options.ct, options.size)
    return 0


def _listen(options: argparse.Namespace) -> int:
    from guidance.service import listen

    keys = None if options.keys is None else client_keys(options.keys)
    for message in listen(options.connect, keys):
        print(message, flush=True)
    return 0


def _keys(options: argparse.Namespace) -> int:
    for file in make_keys(options.folder, options.client):
        print(file)
    return 0


def _accounts(options: argparse.Namespace) -> int:
    added = options.add or options.token
    if (added is None) != (options.role is None):
        raise AccountsError("accounts: expected --role with --add or --token, and only with them")
    # One that is made anew is not lost where its new password is refused.
    anew = added is not None and options.remove == added
    if options.remove is not None and not anew:
        remove_account(options.file, options.remove)
    if options.add is not None:
        if not anew:
            require_new(options.file, options.add)
        add_account(options.file, options.add, Role(options.role), _new_password(options.add), anew=anew)
    elif options.token is not None:
        print(add_token(options.file, options.token, Role(options.role), anew=anew))
    elif options.remove is None:
        for account in read_accounts(options.file).values():
            print(f"{account.name:32} {account.role:9} {'password' if account.password else 'token'}")
    return 0


def _new_password(name: str) -> str:
    """Asked for twice on a terminal; the first line of what comes in otherwise."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass(f"Password of {name}: ")
    if getpass("Once more: ") != password:
        raise AccountsError(f"the password of {name}: the two differ; expected the same twice")
    return password


def _devices(options: argparse.Namespace) -> int:
    from drivers.v4l2_devices import devices

    found = devices()
    if options.json:
        print(json.dumps([device.as_json() for device in found], indent=2))
        return 0
    for device in found:
        print("\n".join(device.as_lines()))
    if not found:
        print("no grabbers found")
    return 0


@contextmanager
def _progress(info: SourceInfo) -> Iterator[Callable[[int], Any]]:
    """A bar on a terminal, nothing elsewhere."""
    with tqdm(total=info.frame_count, unit=" frames", disable=None, desc=info.name) as bar:
        yield bar.update


if __name__ == "__main__":
    sys.exit(main())
