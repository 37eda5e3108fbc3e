"""A model of sockets for both versions of WASI, below ``wasi/p2/_sockets.py`` and ``wasi/p3/_sockets.py``.

All failures are OSErrors, from the system or as ``SocketError``. ``_errors.code_of`` maps them to codes.
"""
