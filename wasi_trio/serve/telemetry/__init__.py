"""OpenTelemetry: spans of requests and metrics, sent to a collector, where the environment asks for it."""
