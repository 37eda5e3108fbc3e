"""The interfaces that are imported."""

# Written by wasi_trio bindgen, and overwritten when that is run again.
