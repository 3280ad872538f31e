"""Score a predicted CT by how far it is from explaining its films, and rank studies by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SCORE = "reprojection"
"""Name of the scoring method, of the strategy, and of the entry of a study that holds its score."""


def film_disagreement(consistency: Mapping[str, Any]) -> float:
    """Compute how far the DRRs of a predicted CT lie from its films.

    Args:
        consistency: what `networks.Consistency.record` returned, of the volume before the update.

    Returns:
        Root mean square over the views of the difference of line integrals, as a share of their standard deviation in
        the CT: 0 explains the films, 1 is no better than a constant.
    """
    pairs = zip(consistency["before"], consistency["spread"], strict=True)
    shares = [before / max(spread, 1e-6) for before, spread in pairs]
    return math.sqrt(sum(share**2 for share in shares) / len(shares))


def rank(infos: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Rank studies by their score, the worst first: there a true CT would teach the most.

    Args:
        infos: id -> what is known about a study; its entry `SCORE` holds `error` where it was scored.

    Returns:
        Id and score of each study that has one.
    """
    scored = [
        (name, float(score["error"])) for name, info in infos.items() if (score := info.get(SCORE)) and "error" in score
    ]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))
