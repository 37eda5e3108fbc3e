"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says something of the machine and of what else it does.
settings.register_profile("wasi_trio", deadline=None)
settings.load_profile("wasi_trio")

# What is started in the background, or by nohup, has these ignored, as would have all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
