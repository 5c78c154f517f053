"""Training: sample order, state, and the loop over optimiser steps."""
