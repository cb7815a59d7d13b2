"""polydub: offline-first AI video dubbing."""

__version__ = "0.1.0"
