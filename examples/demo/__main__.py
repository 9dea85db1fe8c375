"""`make demo`. Imports are inside, so that Ctrl-C while they are under way ends as quietly as later."""

import sys


def main() -> int:
    """The exit code: 0 only if every check held."""
    try:
        from examples.demo.steps import run
        from tidelog.errors import TidelogError

        try:
            return run()
        except TidelogError as error:
            print(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
