"""A model of sockets for both versions of WASI: ``wasi/p2/sockets.py`` and ``wasi/p3/sockets.py`` are thin above it.

Every failure is an OSError, of the system or a ``SocketError``; ``errors.code_of`` names each.
"""
