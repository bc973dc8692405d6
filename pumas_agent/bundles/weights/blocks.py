"""Owns the names of the blocks that models of diffusers are made of."""

from collections.abc import Iterable

from pumas_agent.bundles.weights.config import Misfit

_BLOCKS = frozenset(
    {
        *("DownBlock2D", "CrossAttnDownBlock2D", "AttnDownBlock2D", "AttnDownEncoderBlock2D", "AttnSkipDownBlock2D"),
        *("DownEncoderBlock2D", "KCrossAttnDownBlock2D", "KDownBlock2D", "ResnetDownsampleBlock2D"),
        *("SimpleCrossAttnDownBlock2D", "SkipDownBlock2D"),
        *("UpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D", "AttnUpDecoderBlock2D", "AttnSkipUpBlock2D"),
        *("UpDecoderBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D", "ResnetUpsampleBlock2D"),
        *("SimpleCrossAttnUpBlock2D", "SkipUpBlock2D"),
    }
)
"""What `get_down_block` and `get_up_block` make; any other name ends the loading."""


def require_blocks(key: str, kinds: Iterable[str]) -> None:
    """Ask of names that they are those of blocks.

    Raises:
        Misfit: one is not.
    """
    for kind in kinds:
        if kind.removeprefix("UNetRes") not in _BLOCKS:
            raise Misfit(f"{key} has {kind!r:.50}, which is no block of diffusers")
