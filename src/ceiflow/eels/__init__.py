"""Room: eels."""
