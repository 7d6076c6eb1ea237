"""Run the mission's own pipeline on the same file and compare step by step."""
