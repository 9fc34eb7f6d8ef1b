"""The protocol under a seed: `simulate(seed)`.

`python -m callboard.testing.simulation --seeds 0:200 --steps 2000` runs many, and tells the story of the first that
breaks a promise.
"""

from __future__ import annotations

from .checks import Violation
from .run import STEPS, Simulation, simulate

__all__ = ["STEPS", "Simulation", "Violation", "simulate"]
