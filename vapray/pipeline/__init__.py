"""Stages as one table, the runner that executes them, and the dry run."""
