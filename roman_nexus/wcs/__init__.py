"""Detector geometry: from pixels to the sky, and where the 18 detectors lie. Pure: no files, no network."""

from roman_nexus.wcs.build import build_wcs, level1_wcs
from roman_nexus.wcs.focal_plane import DETECTORS, DetectorPlace, detector_place
from roman_nexus.wcs.footprint import footprint, s_region

__all__ = [
    "DETECTORS",
    "DetectorPlace",
    "build_wcs",
    "detector_place",
    "footprint",
    "level1_wcs",
    "s_region",
]
