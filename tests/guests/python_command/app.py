"""A command of WASI 0.2: prints its first argument, and does that; what ``tell`` tells is how it was called."""

import os
import sys

from componentize_py_types import Err


class Run:
    def run(self) -> None:
        action = sys.argv[1]
        if action == "tell":
            print(sys.argv)
            print(dict(os.environ))
            print(sys.stdin.readlines())
            print("told", file=sys.stderr)
            return
        print(action)
        if action == "fail":
            raise Err(None)
        if action == "exit":
            sys.stdout.flush()
            sys.exit(1)
        if action == "raise":
            raise ValueError("raised")
