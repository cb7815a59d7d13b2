"""Voices that are kept: the library of recordings, how good they are, and characters across films."""
