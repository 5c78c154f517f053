"""Command line of vapray."""
