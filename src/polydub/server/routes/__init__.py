"""One module per topic; each exports `router`. A module that is listed must exist.

Every route names its policy: `who: Annotated[Principal, Depends(policy("editor"))]`, see `polydub.server.access`.
"""

from __future__ import annotations

from collections.abc import Mapping

# What is served -> modules of this package, in the order of the OpenAPI document and in which they are asked for a path: the
# one for which milliseconds count comes first.
MODULES: Mapping[str, tuple[str, ...]] = {
    "all": (
        "openai",
        "auth",
        "login",
        "home",
        "second_factor",
        "admin",
        "operations",
        "uploads",
        "webhooks",
        "transcribe",
        "separate",
        "jobs",
        "catalogue",
        "review",
        "library",
        "presets",
        "stream",
    ),
    "speech": ("openai", "auth", "login", "home", "second_factor", "admin", "operations", "transcribe"),
    "separation": ("auth", "login", "home", "second_factor", "admin", "operations", "separate"),
}
