"""Test-Time Scaling: sample several trajectories, select one answer, stop early."""
