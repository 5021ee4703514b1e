"""What a test may do to a running simulation, by subject; `Simulation` has all of it."""
