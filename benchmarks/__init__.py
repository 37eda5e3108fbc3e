"""The costs of wasi_trio, each compared with a floor or a peer measured in the same run: ``python -m benchmarks``."""
