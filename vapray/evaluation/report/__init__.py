"""Report: one self-contained page that shows and explains the results of a run."""
