"""Engines in processes of their own: `host` is what polydub uses, `worker` the program, `codec` what crosses the pipe."""
