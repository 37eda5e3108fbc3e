"""Sockets in words of no version of WASI: what ``wasi/p2/sockets.py`` and ``wasi/p3/sockets.py`` are made of.

Failures are OSErrors, those of the system and ``SocketError``; ``errors.code_of`` names each.
"""
