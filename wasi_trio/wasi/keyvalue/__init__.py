"""Stores for the buckets of wasi:keyvalue: memory, SQLite, Redis or Valkey."""
