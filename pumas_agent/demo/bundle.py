"""Owns the demo bundle: a small but whole Stable Diffusion pipeline directory, written without torch.

Every file that diffusers asks for is there and fits the others; the weights are noise, so what it draws is noise too.
"""

from pathlib import Path

from pumas_agent.demo.bundles import BundleKind, write_bundle


def write_stable_diffusion_bundle(root: Path, *, seed: int = 0) -> None:
    """Write the bundle below `root`, which is created when absent.

    The same seed gives the same bytes; another one gives another fine-tune: the same files with other tensor data.

    Raises:
        OSError: the disk does not take it.
    """
    write_bundle(BundleKind.STABLE_DIFFUSION, root, seed=seed)
