"""From a clean environment and a component's file to a property test that passes: how many lines, and how long."""
