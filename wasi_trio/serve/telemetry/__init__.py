"""OpenTelemetry: traces and metrics, exported to a collector if the environment requests it."""
