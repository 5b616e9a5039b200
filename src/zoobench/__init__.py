"""zoobench."""
