"""The command line's door: what takes long before anything is shown is told first."""

import sys

from guidance.first_run import load_kernels, tell_compiling


def main() -> int:
    """Run one command; its exit status."""
    with tell_compiling():
        load_kernels()
        from guidance.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
