"""Which words a line of subtitles may begin or end with, by language: the data behind `polydub.text.breaking`.

Three lists a language, as timed-text guides want lines broken before conjunctions and prepositions and never between an
article, a possessive, an auxiliary, a negation or a subject pronoun and what follows. A language that is not here has
empty lists: its lines are broken by punctuation and length alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class BreakWords:
    """Words in lower case. `join`: conjunctions and relative words, good at the beginning of a line, never at its end;
    `prepositions`: the same, a little weaker; `articles`: never at the end; `leaning`: belong to the next word unless a
    clause begins there (auxiliaries, negations, subject pronouns)."""

    join: frozenset[str]
    prepositions: frozenset[str]
    articles: frozenset[str]
    leaning: frozenset[str]


_TABLE: Mapping[str, tuple[str, str, str, str]] = {
    "en": (
        "and or but nor so yet that which who whom whose when where while because if as than though although unless until "
        "since whether whereas why how",
        "with for from to of in on at by about into onto over under between through after before during without against "
        "among across around behind beyond toward towards upon within like",
        "a an the my your his her its our their this these those some any no every each another such very too mr mrs ms dr",
        "i you he she it we they is are was were am be been being have has had do does did will would shall should can could "
        "may might must not don't doesn't didn't isn't aren't wasn't weren't won't can't couldn't shouldn't wouldn't i'm "
        "you're he's she's it's we're they're i've you've we've they've i'll you'll we'll they'll i'd there",
    ),
    "es": (
        "y e o u ni pero sino que cual cuales quien quienes cuando donde como porque pues si aunque mientras cuyo cuya",
        "a al ante bajo con contra de del desde durante en entre hacia hasta mediante para por según sin sobre tras",
        "el la los las un una unos unas lo mi mis tu tus su sus nuestro nuestra nuestros nuestras este esta estos estas ese "
        "esa esos esas aquel aquella muy más cada algún alguna ningún ninguna otro otra todo toda todos todas tan",
        "yo tú él ella nosotros ellos ellas usted ustedes no me te se nos os le les ha han he has hemos había habían es son "
        "era eran fue está están estaba estoy estamos ser estar puede pueden puedo podemos debe deben va van voy vamos",
    ),
    "fr": (
        "et ou mais ni car donc or que qui quoi dont où quand lorsque comme si puisque parce tandis quoique afin pourquoi",
        "à au aux de du des en dans par pour sans sous sur vers avec chez contre entre depuis pendant avant après jusque dès",
        "le la les un une ce cet cette ces mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs quelque quelques "
        "chaque aucun aucune très plus trop si tout toute tous toutes quel quelle",
        "je tu il elle on nous vous ils elles ne se me te y est sont était étaient suis es sommes êtes a ont ai as avons avez "
        "avait avaient sera seront peut peuvent peux doit doivent va vont vais être avoir n'est c'est j'ai",
    ),
    "de": (
        "und oder aber denn sondern dass daß weil wenn als ob obwohl während bevor nachdem damit wie wo wer was wobei sodass "
        "welche welcher welches bis seit",
        "mit für von zu im am in an auf aus bei nach über unter vor hinter neben zwischen durch gegen ohne um zum zur vom beim "
        "ins ans aufs trotz wegen",
        "der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner mein meine meinen meinem "
        "dein deine sein seine seinen ihr ihre ihren ihrem unser unsere euer eure dieser diese dieses diesen diesem jeder jede "
        "jedes alle sehr zu so herr frau",
        "ich du er sie es wir man nicht ist sind war waren bin bist hat haben habe hatte hatten wird werden wurde wurden würde "
        "kann können konnte muss müssen soll sollen will wollen darf mag sich",
    ),
    "it": (
        "e ed o od ma né però che chi cui quando dove come perché poiché se mentre quindi sebbene affinché",
        "a ad al allo alla ai agli alle di del dello della dei degli delle da dal dallo dalla dai dagli dalle in nel nello "
        "nella nei negli nelle con su sul sullo sulla sui sugli sulle per tra fra senza sotto sopra verso durante contro",
        "il lo la i gli le un uno una mio mia miei mie tuo tua tuoi suo sua suoi sue nostro nostra vostro loro questo questa "
        "questi queste quel quello quella quei quelle ogni qualche molto più troppo così",
        "io tu lui lei noi voi non mi ti si ci vi ne è sono era erano sei siamo ha hanno ho hai abbiamo aveva sarà può possono "
        "posso deve devono va vanno essere avere sta stanno sto",
    ),
    "pt": (
        "e ou mas nem porém que quem quando onde como porque pois se embora enquanto cujo cuja qual quais",
        "a ao aos à às ante até com contra de do da dos das desde em no na nos nas entre para pra por pelo pela pelos pelas "
        "sem sob sobre após durante num numa",
        "o os as um uma uns umas meu minha meus minhas teu tua seu sua seus suas nosso nossa este esta estes estas esse essa "
        "esses essas aquele aquela cada algum alguma nenhum nenhuma outro outra muito mais todo toda todos todas tão",
        "eu tu ele ela nós eles elas você vocês não me te lhe é são era eram foi está estão estava estou estamos sou somos tem "
        "têm tinha há vai vão vou pode podem posso deve devem ser estar ter",
    ),
    "nl": (
        "en of maar want dus dat die wie wat waar wanneer als omdat terwijl hoewel toen zodat totdat hoe",
        "met voor van naar in op aan uit bij over onder tussen door tegen zonder om te tot na achter naast sinds tijdens",
        "de het een mijn jouw je zijn haar ons onze hun dit deze elke elk geen zeer heel erg alle",
        "ik jij hij zij ze we wij jullie u niet is waren was ben bent heb heeft hebben had hadden zal zullen zou kan kunnen "
        "kon moet moeten wil willen mag wordt worden werd er zich",
    ),
    "ru": (
        "и или но а да что чтобы который которая которое которые кто когда где куда как если потому поэтому хотя пока чем ли",
        "в во на с со к ко о об обо от ото из изо за под над при про для без до у по через между перед после около против "
        "ради среди",
        "этот эта это эти тот та те мой моя моё мои твой твоя его её их наш наша наши ваш ваша ваши свой своя свои весь вся "
        "все каждый каждая очень самый такой такая",
        "я ты он она оно мы вы они не ни был была было были будет будут буду есть бы может могут могу можно надо нужно",
    ),
    "pl": (
        "i oraz lub albo ale lecz a że żeby aby który która które którzy kto co kiedy gdy gdzie jak jeśli jeżeli bo ponieważ "
        "więc chociaż choć niż czy",
        "w we na z ze do od ode o u po za pod nad przed przy przez dla bez między wśród oprócz podczas według ku",
        "ten ta to te ci mój moja moje twój twoja jego jej ich nasz nasza wasz swój swoja każdy każda bardzo pan pani",
        "ja ty on ona ono my wy oni one nie się jest są był była było byli będzie będą mam ma mają może mogą mogę można trzeba "
        "musi by",
    ),
}
NOTHING = BreakWords(frozenset(), frozenset(), frozenset(), frozenset())


@cache
def break_words(base: str) -> BreakWords:
    """The lists of a base language such as "es"; those of an unknown one are empty."""
    row = _TABLE.get(base)
    return BreakWords(*(frozenset(words.split()) for words in row)) if row else NOTHING
