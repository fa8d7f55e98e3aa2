"""Room: images. Fields whose contours are edges: matter against vacuum, lattice against none.

There is no geometry here: contours, normals and gaps are drawn in these fields by `ceiflow.layer`.
"""

from ceiflow.images.amorphous import amorphous_fraction
from ceiflow.images.field import Field
from ceiflow.images.lattice import lattice_field
from ceiflow.images.limits import detection_limit
from ceiflow.images.matter import matter_field

__all__ = ["Field", "amorphous_fraction", "detection_limit", "lattice_field", "matter_field"]
