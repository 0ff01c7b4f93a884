"""From noise to a latent: schedules, solvers, guided sampling. `sample.Head` is what a network must offer."""
