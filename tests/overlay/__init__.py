"""Overlays: made, filled, compared, merged, dropped."""
