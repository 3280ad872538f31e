"""The adversarial loss of least-squares GANs."""

from __future__ import annotations

from monai.losses import PatchAdversarialLoss
from monai.utils import LossReduction


class LSGANLoss(PatchAdversarialLoss):
    """Mean squared distance of raw patch scores to 1 (real) or 0 (fake), as X2CT-GAN uses it.

    MONAI's loss without the activation that it puts before the distance by default. Call it as
    `loss(scores, target_is_real, for_discriminator)`, scores (B, 1, d, h, w) or a list of such.

    Args:
        reduction: "mean" (the paper's), "sum" or "none".
    """

    def __init__(self, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=reduction, criterion="least_squares", no_activation_leastsq=True)
