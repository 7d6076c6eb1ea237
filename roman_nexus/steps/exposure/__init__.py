"""The steps from ramp to rate image, one module each."""
