"""A model of sockets for both versions of WASI: ``wasi/p2/_sockets.py`` and ``wasi/p3/_sockets.py`` are thin above it.

Every failure is an OSError, of the system or a ``SocketError``; ``_errors.code_of`` names each.
"""
