"""The catalogue of bad inputs: each ends in a clear error that says what, where, the value seen and what to do."""
