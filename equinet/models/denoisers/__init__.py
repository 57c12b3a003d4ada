"""Networks that remove noise, from which diffusion models sample."""

from equinet.models.denoisers.ponita_denoiser import PonitaDenoiser

__all__ = ["PonitaDenoiser"]
