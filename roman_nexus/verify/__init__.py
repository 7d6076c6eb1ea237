"""Run the mission's own pipeline on the same file and compare step by step."""

from roman_nexus.verify.report import VerifyReport
from roman_nexus.verify.verification import verify

__all__ = ["VerifyReport", "verify"]
