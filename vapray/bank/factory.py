"""Text encoders by configuration."""

from vapray.bank.hashing_encoder import HashingEncoder
from vapray.bank.text_encoder import TextEncoder
from vapray.bank.transformer_encoder import TransformerEncoder
from vapray.config import TextEncoderSection

__all__ = ["build_text_encoder"]


def build_text_encoder(settings: TextEncoderSection, device: str = "cpu") -> TextEncoder:
    """Build the encoder of section ``bank``; weights are loaded with its first text.

    Args:
        settings: section ``bank`` of the configuration.
        device: torch device.

    Raises:
        ConfigError: a missing or invalid model, or settings that it does not support.
        BackendError: a package or a model that is not available on this machine.
    """
    if settings.encoder == "hashing":
        return HashingEncoder(settings.width, settings.max_tokens)
    return TransformerEncoder(settings, device)
