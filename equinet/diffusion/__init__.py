"""Diffusion: noise levels, preconditioning, zero center of mass, sampling, sizes of molecules.

It knows neither networks nor files nor Lightning, and each formula stands in a module of its own.

Source: Karras et al., Elucidating the design space of diffusion-based generative models (NeurIPS
2022) for levels, preconditioning and sampling; Hoogeboom et al., Equivariant diffusion for molecule
generation in 3D (ICML 2022) for the zero center of mass and the sizes of molecules.
"""

from equinet.diffusion.centering import center
from equinet.diffusion.molecules import (
    Denoiser,
    Molecule,
    NoisyMolecules,
    add_noise,
    generate,
)
from equinet.diffusion.noise_levels import NoiseLevels, sampling_levels
from equinet.diffusion.preconditioning import (
    Preconditioning,
    loss_weights,
    noise_input,
    precondition,
)
from equinet.diffusion.sampler import sample
from equinet.diffusion.sizes import Sizes, fully_connected
from equinet.diffusion.streams import Streams

__all__ = [
    "Denoiser",
    "Molecule",
    "NoiseLevels",
    "NoisyMolecules",
    "Preconditioning",
    "Sizes",
    "Streams",
    "add_noise",
    "center",
    "fully_connected",
    "generate",
    "loss_weights",
    "noise_input",
    "precondition",
    "sample",
    "sampling_levels",
]
