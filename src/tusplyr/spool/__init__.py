"""Staged bytes on local disk, by upload id."""
