"""Where the buckets of wasi:keyvalue are kept: in memory, in a SQLite file, in Redis or Valkey."""
