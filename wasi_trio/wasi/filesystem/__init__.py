"""Files of guests, for all versions of WASI.

``_sandbox`` confines paths to a directory. ``_volumes`` decides between the event loop and threads. ``_opened``
implements open files and directories, ``_streams`` their contents, and ``_preopens`` the initial directories. All
functions report failures as OSError. ``_errors`` maps these to ``error-code``.
"""
