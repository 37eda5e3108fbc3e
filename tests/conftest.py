"""Settings for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# The duration of an example depends on the machine and its load.
settings.register_profile("wasi_trio", deadline=None)
settings.load_profile("wasi_trio")

# A shell starts background jobs, and nohup its command, with these signals ignored. Child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
