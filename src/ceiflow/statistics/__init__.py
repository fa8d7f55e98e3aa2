"""From acquisitions to claims: aggregation in the design's own levels, contrasts, absence, verdicts.

The cell is the unit of inference. Modules of arithmetic (`nesting`, `components`, `contrasts`, `bounds`) take
numbers and know of no file; `stages` reads and writes tables.
"""

from ceiflow.statistics.stages import aggregate, collect, judge, plan

__all__ = ["aggregate", "collect", "judge", "plan"]
