from __future__ import annotations

from wasi_trio.cli import main

if __name__ == "__main__":
    main()
