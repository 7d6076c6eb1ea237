"""roman_nexus."""
