"""What load testers run: benchmarks, simulators of both services, plots."""
