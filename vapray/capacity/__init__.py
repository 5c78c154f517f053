"""How many machines, for how long, at what price, and what gives way first: on paper, before anything is rented."""
