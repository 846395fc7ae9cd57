"""tusplyr: a resumable upload server that loses nothing it has acknowledged."""

__version__ = "0.1.0"
