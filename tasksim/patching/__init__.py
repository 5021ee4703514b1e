"""The real world, replaced while a simulation runs, and put back at its end."""
