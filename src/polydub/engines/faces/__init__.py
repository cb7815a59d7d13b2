"""Engines that find shots and faces in a picture."""
