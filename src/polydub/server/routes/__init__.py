"""One file per topic; each has a `router`."""
