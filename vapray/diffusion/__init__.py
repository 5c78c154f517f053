"""The diffusion process: its schedule, randomness, objective, guidance and solvers, in torch and numpy."""
