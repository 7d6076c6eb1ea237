"""Calibration steps: pure functions of arrays, each with its declaration."""
