"""Which of an engine's languages, or pairs of languages, serves best what is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from polydub import languages


def match_language(wanted: str, known: Iterable[str]) -> str | None:
    """The entry of `known` that serves a tag, or a pair "en>es", best; None when the language or pair is not among them.

    Nearness is that of `languages.nearest`; of pairs the target side counts first. "und>en" is served by any pair into "en".
    """
    if ">" not in wanted:
        return languages.nearest(wanted, sorted(known))
    source, _, target = wanted.partition(">")
    anything = source == "und"
    pairs = sorted(tuple(pair.split(">")) for pair in known if anything or languages.matches(pair.partition(">")[0], source))
    best_target = languages.nearest(target, [pair[1] for pair in pairs])
    sources = [pair[0] for pair in pairs if pair[1] == best_target]
    best_source = next(iter(sources), None) if anything else languages.nearest(source, sources)
    return f"{best_source}>{best_target}" if best_target and best_source else None


def nearest_languages(wanted: str, known: Iterable[str]) -> str:
    """Up to eight entries of `known`: those that share a side of the pair or are spelt alike, else the first ones."""
    tags = sorted(known)
    lower = {tag.casefold(): tag for tag in tags}
    ends = [languages.base(side) for side in wanted.split(">")]
    pairs = [
        (tag, [languages.base(side) == end for side, end in zip(tag.split(">"), ends, strict=False)])
        for tag in tags
        if ">" in tag
    ]
    related = [tag for tag, same in sorted(pairs, key=lambda pair: pair[1], reverse=True) if any(same)]
    alike = [lower[t] for t in difflib.get_close_matches(wanted.casefold(), lower, n=8, cutoff=0.5)]
    near = list(dict.fromkeys(related + alike))[:8]
    if near:
        return ", ".join(near)
    return ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "")
