"""Laws of the metrics and of the report."""
