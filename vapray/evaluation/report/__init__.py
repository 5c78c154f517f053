"""The report: one self-contained page that shows and explains what a run made."""
