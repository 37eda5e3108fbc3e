"""The exported interfaces."""

# Written by wasi_trio bindgen, and overwritten when that is run again.
