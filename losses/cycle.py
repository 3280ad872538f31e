"""The cycle and identity losses of CycleGAN."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import l1_loss

from conventions import Keys


class CycleLoss(nn.Module):
    """L1 distances of cycles and identities (Zhu et al., ICCV 2017, sections 3.2 and 5.2).

    The identity term of a domain is weighted with the cycle weight of that domain, as the authors do.

    Args:
        cycle_drr: weight of the cycle from a DRR to a film and back.
        cycle_real: weight of the cycle from a film to a DRR and back.
        identity: weight of the identity, relative to these; 0 leaves it out.
    """

    def __init__(self, cycle_drr: float = 10.0, cycle_real: float = 10.0, identity: float = 0.5) -> None:
        super().__init__()
        self.weights: dict[str, float] = {Keys.DRR: cycle_drr, Keys.REAL: cycle_real}
        self.identity = identity

    def forward(
        self,
        images: dict[str, torch.Tensor],
        cycled: dict[str, torch.Tensor],
        unchanged: dict[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compare images with their translations.

        Args:
            images: domain, "drr" or "real" -> images (B, 1, rows, columns).
            cycled: domain -> the same images after both translations.
            unchanged: domain -> the same images after the translation into their own domain; needed for the identity.

        Returns:
            `cycle_drr`, `cycle_real` and, unless the identity is left out, `identity_drr`, `identity_real`: weighted
            scalars.
        """
        terms = {f"cycle_{name}": self.weights[name] * l1_loss(cycled[name], image) for name, image in images.items()}
        if self.identity:
            assert unchanged is not None
            for name, image in images.items():
                terms[f"identity_{name}"] = self.identity * self.weights[name] * l1_loss(unchanged[name], image)
        return terms
