"""What differs between two products: pixels, flags, jumps, coordinates, metadata, references.

The comparison takes the product of a rerun first and the archive's second. It works by blocks of rows, so that two
files of any size need little memory, and its numbers are exact: nothing in the report is sampled.
"""

from roman_nexus.comparison.comparing import compare
from roman_nexus.comparison.distances import ulp_distance
from roman_nexus.comparison.result import Comparison

__all__ = ["Comparison", "compare", "ulp_distance"]
