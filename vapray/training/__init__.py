"""Training: sample order, state, and the loop over optimizer steps."""
