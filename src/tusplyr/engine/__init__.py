"""Carrying out commands: the hot path, publishing, sweeping."""
