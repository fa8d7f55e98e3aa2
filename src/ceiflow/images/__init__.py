"""Room: images. Fields whose contours are edges: matter against vacuum, lattice against none. No geometry here."""

from ceiflow.images.field import Field
from ceiflow.images.lattice import lattice_field
from ceiflow.images.limits import detection_limit
from ceiflow.images.matter import matter_field

__all__ = ["Field", "detection_limit", "lattice_field", "matter_field"]
