"""Words that a line can lose without losing what it says, for each language, the emptiest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removable:
    """What may go, in lower case; several words are one phrase.

    Attributes: markers: go only where commas set them off ("Bueno, vamos."), so that an adjective or a noun that is spelt
    alike stays. adverbs: go inside a clause, before another word. stay: phrases whose words never go. negations: near
    which no adverb goes ("not really"). joints: words after which no clause may begin anew without what goes.
    """

    markers: tuple[str, ...]
    adverbs: tuple[str, ...]
    stay: tuple[str, ...]
    negations: frozenset[str]
    joints: frozenset[str]


def _list(text: str) -> tuple[str, ...]:
    return tuple(" ".join(entry.split()) for entry in text.split(","))


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


REMOVABLE: Mapping[str, Removable] = {
    "en": Removable(
        _list(
            "um, uh, er, erm, hmm, ah, oh, eh, you know, i mean, you see, well, like, okay, ok, look, listen, now, anyway, "
            "anyhow, so to speak, if you will, as it were, let me tell you, to be honest, to tell the truth, to be fair, "
            "as a matter of fact, in fact, in actual fact, by the way, of course, after all, basically, actually, honestly, "
            "frankly, obviously, clearly, naturally, indeed, really, literally, essentially, needless to say, sort of, kind of"
        ),
        _list(
            "basically, literally, actually, really, truly, honestly, frankly, essentially, obviously, simply, very, "
            "extremely, incredibly, absolutely, totally, definitely, certainly, of course, in fact, indeed, terribly, awfully"
        ),
        _list(
            "very much, the very, this very, that very, these very, simply put, or really, "
            "really is, really are, really was, really were, really do, really does, really did, actually is, truly is, "
            "very own, very same, very first, very last, almost certainly, most certainly"
        ),
        _set("not no never nothing nobody none nor neither without hardly scarcely cannot"),
        _set("and or but than as that which to"),
    ),
    "es": Removable(
        _list(
            "eh, em, ah, oh, uy, pues, bueno, vaya, vamos, o sea, a ver, mira, mire, miren, oye, oiga, escucha, "
            "sabes, sabe, verás, digamos, por así decirlo, en fin, en realidad, en verdad, la verdad, la verdad es que, "
            "de hecho, a decir verdad, por supuesto, desde luego, claro, claro está, naturalmente, evidentemente, "
            "obviamente, realmente, francamente, sinceramente, después de todo, al fin y al cabo, por cierto, entonces, "
            "básicamente, literalmente, efectivamente"
        ),
        _list(
            "básicamente, literalmente, realmente, verdaderamente, francamente, sinceramente, obviamente, evidentemente, "
            "naturalmente, simplemente, en realidad, de hecho, por supuesto, desde luego, muy, sumamente, extremadamente, "
            "increíblemente, absolutamente, totalmente, completamente, ciertamente, pues"
        ),
        _list("por muy, muy a, muy señor, muy señores, muy de, pues bien"),
        _set("no ni nunca jamás nada nadie ningún ninguno ninguna ningunos ningunas tampoco sin apenas"),
        _set("y e o u pero sino que como"),
    ),
    "fr": Removable(
        _list(
            "euh, ben, bah, hein, ah, oh, eh bien, bon, bref, tu sais, vous savez, tu vois, vous voyez, écoute, écoutez, "
            "tiens, tenez, alors, voilà, disons, quoi, enfin, en fait, en réalité, en vérité, à vrai dire, pour ainsi dire, "
            "pour tout dire, bien sûr, bien entendu, évidemment, naturellement, franchement, honnêtement, sincèrement, "
            "effectivement, en effet, d'ailleurs, après tout, au fond, vraiment, justement, au fait, finalement"
        ),
        _list(
            "littéralement, vraiment, véritablement, franchement, honnêtement, sincèrement, évidemment, naturellement, "
            "effectivement, tout simplement, simplement, en fait, en réalité, bien sûr, bien entendu, tout à fait, très, "
            "extrêmement, incroyablement, absolument, totalement, complètement, carrément, certainement, quand même"
        ),
        _list("à très"),
        _set("ne pas non jamais rien personne aucun aucune ni sans guère plus point nul nulle"),
        _set("et ou mais que qui comme car si"),
    ),
    "de": Removable(
        _list(
            "äh, ähm, hm, ach, oh, ah, na, na ja, naja, tja, also, nun, nun ja, nun gut, gut, schau, schauen sie, sieh mal, "
            "hör mal, hören sie, weißt du, wissen sie, wie gesagt, sozusagen, gewissermaßen, ehrlich gesagt, offen gesagt, "
            "um ehrlich zu sein, im grunde, im grunde genommen, in wirklichkeit, in der tat, natürlich, selbstverständlich, "
            "übrigens, wirklich, tatsächlich, schließlich, jedenfalls, im übrigen, freilich, gell"
        ),
        _list(
            "sozusagen, gewissermaßen, quasi, irgendwie, eigentlich, halt, ja, doch, einfach, wirklich, tatsächlich, "
            "natürlich, selbstverständlich, übrigens, schlichtweg, durchaus, sehr, ziemlich, äußerst, unglaublich, "
            "wahnsinnig, absolut, total, völlig, durch und durch, ganz und gar"
        ),
        _list(
            "so sehr, zu sehr, wie sehr, sehr wohl, sehr geehrte, sehr geehrter, ja wohl, doch nur, "
            "einfach so, zu einfach, so einfach, ganz einfach, oder doch, wenn doch, einfach zu, ist einfach, sind einfach"
        ),
        _set("nicht nichts nie niemals niemand kein keine keinen keinem keiner keines ohne kaum nirgends weder noch nein"),
        _set("und oder aber sondern als wie dass zu so"),
    ),
    "it": Removable(
        _list(
            "eh, ehm, mah, beh, ah, oh, insomma, cioè, allora, dunque, bene, ecco, senti, senta, sentite, guarda, guardi, "
            "guardate, sai, sapete, vedi, vedete, diciamo, per così dire, a dire il vero, a dir la verità, in realtà, "
            "in verità, in effetti, di fatto, infatti, naturalmente, ovviamente, certo, certamente, chiaramente, "
            "sinceramente, francamente, onestamente, davvero, veramente, del resto, dopotutto, in fondo, tra l'altro, comunque"
        ),
        _list(
            "praticamente, letteralmente, davvero, veramente, realmente, sinceramente, francamente, onestamente, ovviamente, "
            "naturalmente, chiaramente, semplicemente, in realtà, in effetti, di fatto, decisamente, estremamente, "
            "incredibilmente, assolutamente, totalmente, completamente, certamente, sicuramente"
        ),
        _list("e certamente, in realtà è che, di fatto che"),
        _set("non no né mai niente nulla nessuno nessuna nessun neanche nemmeno neppure senza mica"),
        _set("e ed o od ma che come se"),
    ),
    "pt": Removable(
        _list(
            "hum, ah, oh, eh, bem, bom, pois, pois bem, então, ora, ora bem, olha, olhe, olhem, escuta, escute, sabe, sabes, "
            "veja, vê, digamos, ou seja, quer dizer, tipo, por assim dizer, enfim, na verdade, na realidade, de facto, "
            "de fato, a bem dizer, para dizer a verdade, para ser sincero, para ser sincera, claro, é claro, com certeza, "
            "naturalmente, obviamente, evidentemente, francamente, sinceramente, realmente, afinal, afinal de contas, aliás"
        ),
        _list(
            "basicamente, literalmente, realmente, verdadeiramente, francamente, sinceramente, obviamente, evidentemente, "
            "naturalmente, simplesmente, na verdade, na realidade, de facto, de fato, extremamente, incrivelmente, "
            "absolutamente, totalmente, completamente, certamente, deveras, imensamente"
        ),
        _list("pois é, na verdade que"),
        _set("não nem nunca jamais nada ninguém nenhum nenhuma nenhuns nenhumas sem tampouco"),
        _set("e ou mas que como se"),
    ),
}
