"""What a network may predict (the sample, the noise, the velocity) and how each is turned into the others.

With x = alpha x0 + sigma eps, v = alpha eps - sigma x0 and alpha^2 + sigma^2 = 1, any of x0, eps, v follows linearly
from x and any other (Salimans & Ho 2022, arXiv:2202.00512, appendix D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

Prediction = Literal["sample", "epsilon", "v_prediction"]
PREDICTIONS: tuple[str, ...] = get_args(Prediction)


@dataclass(frozen=True)
class Conversion:
    """wanted = (sample * x + output * model_output) / divisor.

    The division stays a step of its own: for noise at sigma near 1 the numerator is a small difference of large
    numbers, and dividing each term first would lose it.
    """

    sample: float
    output: float
    divisor: float = 1.0

    def __call__(self, x: Tensor, output: Tensor) -> Tensor:
        """x and output [..., D] of one dtype, the result too."""
        if self.sample == 0.0:
            return output
        converted = self.sample * x + self.output * output
        return converted if self.divisor == 1.0 else converted / self.divisor


def conversion(given: str, wanted: str, alpha: float, sigma: float) -> Conversion:
    """How to get `wanted` from x and a model output of kind `given`, both out of PREDICTIONS."""
    if given == wanted:
        return Conversion(0.0, 1.0)
    table = {
        ("v_prediction", "sample"): Conversion(alpha, -sigma),
        ("epsilon", "sample"): Conversion(1.0, -sigma, alpha),
        ("v_prediction", "epsilon"): Conversion(sigma, alpha),
        ("sample", "epsilon"): Conversion(1.0, -alpha, sigma),
        ("epsilon", "v_prediction"): Conversion(-sigma, 1.0, alpha),
        ("sample", "v_prediction"): Conversion(alpha, -1.0, sigma),
    }
    return table[given, wanted]
