"""The consensus core, rule by rule."""
