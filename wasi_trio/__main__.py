from __future__ import annotations

from wasi_trio.cli._collector import excluded_from_collection

with excluded_from_collection():
    from wasi_trio.cli import main

if __name__ == "__main__":
    main()
