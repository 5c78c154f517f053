"""The laws of the data room."""
