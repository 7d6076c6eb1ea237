"""What differs between two products."""
