"""Room: signals."""
