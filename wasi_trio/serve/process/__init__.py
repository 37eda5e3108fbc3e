"""The process of a server: the supervisor, its workers, reloading, and the admin address."""
