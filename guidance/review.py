"""``fluoroguide review``: recorded cases in the browser, without a service; ``labels``: what was said of them."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from drivers.frame import Frame, Pixels
from guidance.admission import Admission
from guidance.casebook.archive import Archive, ArchivedCase
from guidance.casebook.judged_truth import write_judged_case
from guidance.casebook.labelled import labels_zip
from guidance.casebook.replay import OutputError
from guidance.handon.deidentify import SURVEYED, Redaction, survey

DEFAULT_PORT = 8001
"""The one after the live dashboard's, so that both may run."""


def add_to(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The command's options. ``command``: makes a parser of a name, what it runs and words on it."""
    parser = command("review", review, "look at recorded cases in the browser, and judge their alerts")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="folder of recorded cases")
    parser.add_argument("--host", default="127.0.0.1", help="address of the pages (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="their port (default: %(default)s)")
    parser.add_argument("--accounts", type=Path, metavar="FILE", help="who may: needed beyond this machine")
    parser.add_argument("--audit-log", type=Path, metavar="FILE", help="where it is noted who did what")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key, PEM")
    parser.add_argument("--plain-http", action="store_true", help="beyond this machine without TLS all the same")

    labels_ = command("labels", labels, "hand on what people have said of a case's alerts, to improve the software by")
    labels_.add_argument("case", type=Path, metavar="CASE", help="folder of a recorded case")
    labels_.add_argument("--coco", type=Path, metavar="FILE", help="the judged moments as a zip with COCO labels")
    labels_.add_argument("--truth", type=Path, metavar="FOLDER", help="the whole case with truth, for `evaluate`")


def labels(options: argparse.Namespace) -> int:
    """Write the labelled data sets. Raises ArchiveError, JudgementError, NotJudgedError, CaseError, OutputError."""
    if options.coco is None and options.truth is None:
        raise OutputError("labels: expected --coco FILE, --truth FOLDER, or both")
    with ArchivedCase(options.case) as case:
        if options.coco is not None:
            try:
                options.coco.write_bytes(labels_of(case))
            except OSError as error:
                raise OutputError(f"{options.coco}: cannot be written ({error.strerror})") from error
        if options.truth is not None:
            write_judged_case(case, options.truth)
    return 0


def labels_of(case: ArchivedCase) -> bytes:
    """The judged moments of a case as a zip, without the text that was burned in. Raises HandOnError."""
    redaction: list[Redaction] = []

    def shown(frame: Frame) -> Pixels:
        # Only once there is a picture to be shown: it takes a look all over the case.
        if not redaction:
            places = np.unique(np.linspace(0, len(case) - 1, min(2 * SURVEYED - 1, len(case))).astype(int))
            redaction.append(survey(case.frame(int(place)) for place in places))
        return redaction[0].apply(frame.pixels, frame.bits)[0]

    return labels_zip(case, shown)


def review(options: argparse.Namespace) -> int:
    """Serve the review pages until Ctrl-C. Raises AdmissionError, AccountsError, ArchiveError, BusError."""
    from guidance.service.dashboard import listening_socket

    admission = Admission(options.accounts, options.tls_cert, options.tls_key, options.plain_http)
    admission.check(options.host)
    Archive(options.archive)
    with closing(listening_socket(options.host, options.port)) as listening:
        host, port = listening.getsockname()[:2]
        lifeline, our_end = os.pipe()
        # -P: the package that is installed beside this one, never a folder of that name where the user stands.
        pages = [sys.executable, "-P", "-m", "web", "--fd", str(listening.fileno()), "--lifeline", str(lifeline)]
        pages += ["--archive", str(options.archive), *admission.options()]
        if options.audit_log is not None:
            pages += ["--audit-log", str(options.audit_log)]
        with subprocess.Popen(pages, stdin=subprocess.DEVNULL, pass_fds=(listening.fileno(), lifeline)) as process:
            os.close(lifeline)
            shown = f"[{host}]" if ":" in host else host
            print(f"review: {'https' if admission.tls else 'http'}://{shown}:{port}/", flush=True)  # noqa: T201
            try:
                return process.wait()
            finally:
                # However this process ends, the kernel closes it; then the pages end too.
                os.close(our_end)
