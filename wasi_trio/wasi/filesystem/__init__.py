"""A guest's files, whichever version of WASI it sees them through.

``sandbox`` keeps paths inside a directory, ``volumes`` says what is done on the event loop and what in a thread,
``opened`` is an open file or directory, ``streams`` are its contents, and ``preopens`` what a guest is given at first.
Everything here fails by raising OSError; ``errors`` has the ``error-code`` for each.
"""
