"""Diffusion process: schedule, randomness, objective, guidance and solvers, in torch and numpy."""
