"""The data behind `polydub.languages`: one row per language, region and script.

LANGUAGES: tag | ISO 639-2 T | B where it differs | scripts, default first | English | native | aliases.
A code with "~" is a group's, used where ISO 639-2 has none for the language alone: it is written to files but not read as it.
Aliases are other names, ISO 639-3 members of a macrolanguage, superseded codes and the codes of well-known engines.
Sources: ISO 639-2/3, the IANA subtag registry, CLDR for names.
"""

LANGUAGES = """
aa|aar||Latn|Afar|Qafar|
ab|abk||Cyrl|Abkhazian|Аԥсшәа|abkhaz
af|afr||Latn|Afrikaans|Afrikaans|
ak|aka||Latn|Akan|Akan|fat
am|amh||Ethi|Amharic|አማርኛ|
an|arg||Latn|Aragonese|Aragonés|
ar|ara||Arab|Arabic|العربية|arb,modern standard arabic
arz|ara~||Arab|Egyptian Arabic|العربية المصرية|
ary|ara~||Arab|Moroccan Arabic|الدارجة|darija
as|asm||Beng|Assamese|অসমীয়া|
ast|ast||Latn|Asturian|Asturianu|
av|ava||Cyrl|Avaric|Авар мацӀ|avar
ay|aym||Latn|Aymara|Aymar aru|ayr
az|aze||Latn Cyrl Arab|Azerbaijani|Azərbaycan dili|azj,azeri
ba|bak||Cyrl|Bashkir|Башҡорт теле|
be|bel||Cyrl|Belarusian|Беларуская|belarussian
bg|bul||Cyrl|Bulgarian|Български|
bho|bho||Deva|Bhojpuri|भोजपुरी|
bm|bam||Latn Nkoo|Bambara|Bamanakan|
bn|ben||Beng|Bengali|বাংলা|bangla
bo|bod|tib|Tibt|Tibetan|བོད་སྐད་|
bpy|inc~||Beng|Bishnupriya Manipuri|বিষ্ণুপ্রিয়া মণিপুরী|bishnupriya
br|bre||Latn|Breton|Brezhoneg|
bs|bos||Latn Cyrl|Bosnian|Bosanski|
ca|cat||Latn|Catalan|Català|valencian
ce|che||Cyrl|Chechen|Нохчийн мотт|
ceb|ceb||Latn|Cebuano|Cebuano|bisaya
chr|chr||Cher Latn|Cherokee|ᏣᎳᎩ|
ckb|kur~||Arab|Central Kurdish|کوردیی ناوەندی|sorani
co|cos||Latn|Corsican|Corsu|
crh|crh||Latn Cyrl|Crimean Tatar|Qırımtatar tili|
cs|ces|cze|Latn|Czech|Čeština|
csb|csb||Latn|Kashubian|Kaszëbsczi|
cv|chv||Cyrl|Chuvash|Чӑвашла|
cy|cym|wel|Latn|Welsh|Cymraeg|
da|dan||Latn|Danish|Dansk|
de|deu|ger|Latn|German|Deutsch|
doi|doi||Deva Arab|Dogri|डोगरी|dgo
dv|div||Thaa|Divehi|ދިވެހި|dhivehi,maldivian
dz|dzo||Tibt|Dzongkha|རྫོང་ཁ|
ee|ewe||Latn|Ewe|Eʋegbe|
el|ell|gre|Grek|Greek|Ελληνικά|modern greek
en|eng||Latn|English|English|
eo|epo||Latn|Esperanto|Esperanto|
es|spa||Latn|Spanish|Español|castilian,castellano
et|est||Latn|Estonian|Eesti|ekk
eu|eus|baq|Latn|Basque|Euskara|
fa|fas|per|Arab Latn|Persian|فارسی|pes,farsi
ff|ful||Latn Adlm|Fulah|Pulaar|fuv,fula,fulani
fi|fin||Latn|Finnish|Suomi|
fil|fil||Latn|Filipino|Filipino|tl,tgl,tagalog,pilipino
fj|fij||Latn|Fijian|Na vosa vakaviti|
fo|fao||Latn|Faroese|Føroyskt|
fon|fon||Latn|Fon|Fɔngbè|
fr|fra|fre|Latn|French|Français|
fur|fur||Latn|Friulian|Furlan|
fy|fry||Latn|Western Frisian|Frysk|frisian
ga|gle||Latn|Irish|Gaeilge|irish gaelic,gaelic irish
gd|gla||Latn|Scottish Gaelic|Gàidhlig|gaelic,gaelic scottish
gl|glg||Latn|Galician|Galego|
gn|grn||Latn|Guarani|Avañe'ẽ|gug
grc|grc||Grek|Ancient Greek|Ἀρχαία Ἑλληνική|greek ancient
gsw|gsw||Latn|Swiss German|Schwiizertüütsch|alemannic
gu|guj||Gujr|Gujarati|ગુજરાતી|
ha|hau||Latn Arab|Hausa|Hausa|
hak|zho~|chi~|Hans Hant Latn|Hakka Chinese|客家话|hakka
haw|haw||Latn|Hawaiian|ʻŌlelo Hawaiʻi|
he|heb||Hebr|Hebrew|עברית|iw
hi|hin||Deva Latn|Hindi|हिन्दी|
hmn|hmn||Latn|Hmong|Hmoob|mww
hr|hrv||Latn|Croatian|Hrvatski|scr
ht|hat||Latn|Haitian Creole|Kreyòl ayisyen|haitian
hu|hun||Latn|Hungarian|Magyar|
hy|hye|arm|Armn|Armenian|Հայերեն|eastern armenian,armenian east armenia
hyw|hye~|arm~|Armn|Western Armenian|Արեւմտահայերէն|armenian west armenia
ia|ina||Latn|Interlingua|Interlingua|
id|ind||Latn|Indonesian|Bahasa Indonesia|in
ig|ibo||Latn|Igbo|Igbo|
ilo|ilo||Latn|Iloko|Ilokano|ilocano
io|ido||Latn|Ido|Ido|
is|isl|ice|Latn|Icelandic|Íslenska|
it|ita||Latn|Italian|Italiano|
iu|iku||Cans Latn|Inuktitut|ᐃᓄᒃᑎᑐᑦ|
ja|jpn||Jpan|Japanese|日本語|jp
jbo|jbo||Latn|Lojban|Lojban|
jv|jav||Latn|Javanese|Basa Jawa|jw
ka|kat|geo|Geor|Georgian|ქართული|
kaa|kaa||Latn Cyrl|Karakalpak|Qaraqalpaq tili|kara kalpak
kab|kab||Latn|Kabyle|Taqbaylit|
ki|kik||Latn|Kikuyu|Gĩkũyũ|gikuyu
kk|kaz||Cyrl Arab Latn|Kazakh|Қазақ тілі|
kl|kal||Latn|Kalaallisut|Kalaallisut|greenlandic
km|khm||Khmr|Khmer|ខ្មែរ|cambodian
kn|kan||Knda|Kannada|ಕನ್ನಡ|
ko|kor||Kore|Korean|한국어|
kok|kok||Deva Latn|Konkani|कोंकणी|gom,knn
kri|cpe~||Latn|Krio|Krio|
ks|kas||Arab Deva|Kashmiri|کٲشُر|
ku|kur||Latn Arab|Kurdish|Kurdî|kmr,northern kurdish,kurmanji
kw|cor||Latn|Cornish|Kernewek|
ky|kir||Cyrl Arab Latn|Kyrgyz|Кыргызча|kirghiz
la|lat||Latn|Latin|Latina|
lb|ltz||Latn|Luxembourgish|Lëtzebuergesch|letzeburgesch
lfn|art~||Latn Cyrl|Lingua Franca Nova|Lingua Franca Nova|elefen
lg|lug||Latn|Ganda|Luganda|
lij|roa~||Latn|Ligurian|Ligure|
li|lim||Latn|Limburgish|Limburgs|limburgan
lmo|roa~||Latn|Lombard|Lombard|
ln|lin||Latn|Lingala|Lingála|
lo|lao||Laoo|Lao|ລາວ|laotian
lt|lit||Latn|Lithuanian|Lietuvių|
ltg|lav~||Latn|Latgalian|Latgalīšu|
luo|luo||Latn|Luo|Dholuo|
lus|lus||Latn|Mizo|Mizo ṭawng|lushai
lv|lav||Latn|Latvian|Latviešu|lvs
mai|mai||Deva|Maithili|मैथिली|
mg|mlg||Latn|Malagasy|Malagasy|plt
mi|mri|mao|Latn|Māori|Te reo Māori|
mk|mkd|mac|Cyrl|Macedonian|Македонски|
ml|mal||Mlym|Malayalam|മലയാളം|
mn|mon||Cyrl Mong|Mongolian|Монгол|khk
mni|mni||Beng Mtei|Manipuri|মৈতৈলোন্|meitei
mr|mar||Deva|Marathi|मराठी|
ms|msa|may|Latn Arab|Malay|Bahasa Melayu|zsm,zlm
mt|mlt||Latn|Maltese|Malti|
mto|nai~||Latn|Totontepec Mixe|Ayöök|
my|mya|bur|Mymr|Burmese|မြန်မာ|myanmar,myanmar burmese
nan|zho~|chi~|Hant Hans Latn|Min Nan Chinese|閩南語|hokkien,taiwanese
nb|nob||Latn|Norwegian Bokmål|Norsk bokmål|no,nor,norwegian,norsk,bokmål
nci|nah~||Latn|Classical Nahuatl|Nāhuatlahtōlli|nahuatl classical
nd|nde||Latn|North Ndebele|IsiNdebele|
ne|nep||Deva|Nepali|नेपाली|npi
nl|nld|dut|Latn|Dutch|Nederlands|flemish
nn|nno||Latn|Norwegian Nynorsk|Norsk nynorsk|nynorsk
nog|nog||Cyrl|Nogai|Ногайша|
nr|nbl||Latn|South Ndebele|IsiNdebele seSewula|
nso|nso||Latn|Northern Sotho|Sesotho sa Leboa|sepedi
nv|nav||Latn|Navajo|Diné bizaad|
ny|nya||Latn|Nyanja|Chinyanja|chewa,chichewa
oc|oci||Latn|Occitan|Occitan|
om|orm||Latn|Oromo|Oromoo|gaz
or|ori||Orya|Odia|ଓଡ଼ିଆ|ory,oriya
os|oss||Cyrl|Ossetic|Ирон|ossetian
pa|pan||Guru Arab|Punjabi|ਪੰਜਾਬੀ|panjabi
pap|pap||Latn|Papiamento|Papiamentu|
pl|pol||Latn|Polish|Polski|
pms|roa~||Latn|Piedmontese|Piemontèis|
ps|pus||Arab|Pashto|پښتو|pbt,pushto
pt|por||Latn|Portuguese|Português|
qu|que||Latn|Quechua|Runasimi|quy,quz
quc|myn~||Latn|K'iche'|K'iche'|quiché
qya|art~||Latn|Quenya|Quenya|
rm|roh||Latn|Romansh|Rumantsch|
rn|run||Latn|Rundi|Ikirundi|kirundi
ro|ron|rum|Latn Cyrl|Romanian|Română|mo,mol,moldavian,moldovan
rom|rom||Latn|Romany|Romani|
ru|rus||Cyrl|Russian|Русский|
rw|kin||Latn|Kinyarwanda|Ikinyarwanda|
sa|san||Deva|Sanskrit|संस्कृतम्|
sah|sah||Cyrl|Yakut|Саха тыла|sakha
sat|sat||Olck|Santali|ᱥᱟᱱᱛᱟᱲᱤ|
sc|srd||Latn|Sardinian|Sardu|
scn|scn||Latn|Sicilian|Sicilianu|
sco|sco||Latn|Scots|Scots|
sd|snd||Arab Deva|Sindhi|سنڌي|
se|sme||Latn|Northern Sami|Davvisámegiella|
sg|sag||Latn|Sango|Sängö|
shn|tai~||Mymr|Shan|လိၵ်ႈတႆး|shan tai yai
si|sin||Sinh|Sinhala|සිංහල|sinhalese
sjn|art~||Latn|Sindarin|Sindarin|
sk|slk|slo|Latn|Slovak|Slovenčina|
sl|slv||Latn|Slovenian|Slovenščina|slovene
sm|smo||Latn|Samoan|Gagana Samoa|
smj|smj||Latn|Lule Sami|Julevsámegiella|lule saami
sn|sna||Latn|Shona|ChiShona|
so|som||Latn|Somali|Soomaali|
sq|sqi|alb|Latn|Albanian|Shqip|als
sr|srp||Cyrl Latn|Serbian|Српски|srpski,scc
ss|ssw||Latn|Swati|SiSwati|
st|sot||Latn|Southern Sotho|Sesotho|
su|sun||Latn|Sundanese|Basa Sunda|
sv|swe||Latn|Swedish|Svenska|
sw|swa||Latn|Swahili|Kiswahili|swh
szl|sla~||Latn|Silesian|Ślōnski|
ta|tam||Taml|Tamil|தமிழ்|
te|tel||Telu|Telugu|తెలుగు|
tg|tgk||Cyrl Arab Latn|Tajik|Тоҷикӣ|
th|tha||Thai|Thai|ไทย|
ti|tir||Ethi|Tigrinya|ትግርኛ|
tk|tuk||Latn Cyrl Arab|Turkmen|Türkmen dili|
tlh|tlh||Latn Piqd|Klingon|TlhIngan Hol|piqd
tn|tsn||Latn|Tswana|Setswana|
to|ton||Latn|Tongan|Lea fakatonga|
tpi|tpi||Latn|Tok Pisin|Tok Pisin|
tr|tur||Latn|Turkish|Türkçe|
ts|tso||Latn|Tsonga|Xitsonga|
tt|tat||Cyrl Latn|Tatar|Татар|
tum|tum||Latn|Tumbuka|ChiTumbuka|
tw|twi||Latn|Twi|Twi|
ty|tah||Latn|Tahitian|Reo Tahiti|
tyv|tyv||Cyrl|Tuvinian|Тыва дыл|tuvan
tzm|ber~||Latn Tfng|Central Atlas Tamazight|Tamaziɣt|tamazight
udm|udm||Cyrl|Udmurt|Удмурт|
ug|uig||Arab Cyrl Latn|Uyghur|ئۇيغۇرچە|uighur
uk|ukr||Cyrl|Ukrainian|Українська|
ur|urd||Arab Latn|Urdu|اردو|
uz|uzb||Latn Cyrl Arab|Uzbek|Oʻzbek|uzn
ve|ven||Latn|Venda|Tshivenḓa|
vec|roa~||Latn|Venetian|Vèneto|
vi|vie||Latn|Vietnamese|Tiếng Việt|
war|war||Latn|Waray|Winaray|
wa|wln||Latn|Walloon|Walon|
wo|wol||Latn|Wolof|Wolof|
wuu|zho~|chi~|Hans Hant|Wu Chinese|吴语|shanghainese
xh|xho||Latn|Xhosa|IsiXhosa|
yi|yid||Hebr|Yiddish|ייִדיש|ji,ydd
yo|yor||Latn|Yoruba|Yorùbá|
yue|zho~|chi~|Hant Hans|Cantonese|粵語|廣東話,chinese cantonese
zh|zho|chi|Hans Hant|Chinese|中文|cmn,mandarin,mandarin chinese,chinese mandarin,cn,普通话,國語,putonghua
zu|zul||Latn|Zulu|IsiZulu|
mul|mul||Zyyy|Multiple languages|Multiple languages|
und|und||Zyyy|Undetermined|Undetermined|
zxx|zxx||Zyyy|No linguistic content|No linguistic content|
"""

# Names people use for a language in one place or script.
VARIETIES = """
american english|en-US
british english|en-GB
australian english|en-AU
canadian english|en-CA
indian english|en-IN
brazilian|pt-BR
brazilian portuguese|pt-BR
português brasileiro|pt-BR
european portuguese|pt-PT
european spanish|es-ES
castilian spanish|es-ES
latin american spanish|es-419
latino|es-419
español latino|es-419
mexican spanish|es-MX
canadian french|fr-CA
swiss french|fr-CH
belgian french|fr-BE
austrian german|de-AT
simplified chinese|zh-Hans
chinese simplified|zh-Hans
sh|sr-Latn
hbs|sr-Latn
serbo croatian|sr-Latn
serbian latin|sr-Latn
简体中文|zh-Hans
traditional chinese|zh-Hant
chinese traditional|zh-Hant
繁體中文|zh-Hant
"""

SCRIPTS = """
Adlm Adlam; Arab Arabic; Armn Armenian; Beng Bangla; Bopo Bopomofo; Cans Canadian Aboriginal; Cher Cherokee; Cyrl Cyrillic;
Deva Devanagari; Ethi Ethiopic; Geor Georgian; Grek Greek; Gujr Gujarati; Guru Gurmukhi; Hang Hangul; Hani Han;
Hans Simplified; Hant Traditional; Hebr Hebrew; Hira Hiragana; Jpan Japanese; Kana Katakana; Khmr Khmer; Knda Kannada;
Kore Korean; Laoo Lao; Latn Latin; Mlym Malayalam; Mong Mongolian; Mtei Meitei; Mymr Myanmar; Nkoo N'Ko; Olck Ol Chiki;
Orya Odia; Piqd Klingon; Shaw Shavian; Sinh Sinhala; Syrc Syriac; Taml Tamil; Telu Telugu; Tfng Tifinagh; Thaa Thaana;
Thai Thai; Tibt Tibetan; Zyyy Common
"""

REGIONS = """
AD Andorra; AE United Arab Emirates; AF Afghanistan; AG Antigua & Barbuda; AI Anguilla; AL Albania; AM Armenia; AO Angola;
AQ Antarctica; AR Argentina; AS American Samoa; AT Austria; AU Australia; AW Aruba; AX Åland Islands; AZ Azerbaijan;
BA Bosnia & Herzegovina; BB Barbados; BD Bangladesh; BE Belgium; BF Burkina Faso; BG Bulgaria; BH Bahrain; BI Burundi;
BJ Benin; BL St. Barthélemy; BM Bermuda; BN Brunei; BO Bolivia; BQ Caribbean Netherlands; BR Brazil; BS Bahamas; BT Bhutan;
BW Botswana; BY Belarus; BZ Belize; CA Canada; CC Cocos (Keeling) Islands; CD Congo - Kinshasa; CF Central African Republic;
CG Congo - Brazzaville; CH Switzerland; CI Côte d’Ivoire; CK Cook Islands; CL Chile; CM Cameroon; CN China; CO Colombia;
CR Costa Rica; CU Cuba; CV Cape Verde; CW Curaçao; CX Christmas Island; CY Cyprus; CZ Czechia; DE Germany; DJ Djibouti;
DK Denmark; DM Dominica; DO Dominican Republic; DZ Algeria; EC Ecuador; EE Estonia; EG Egypt; EH Western Sahara; ER Eritrea;
ES Spain; ET Ethiopia; FI Finland; FJ Fiji; FK Falkland Islands; FM Micronesia; FO Faroe Islands; FR France; GA Gabon;
GB United Kingdom; GD Grenada; GE Georgia; GF French Guiana; GG Guernsey; GH Ghana; GI Gibraltar; GL Greenland; GM Gambia;
GN Guinea; GP Guadeloupe; GQ Equatorial Guinea; GR Greece; GT Guatemala; GU Guam; GW Guinea-Bissau; GY Guyana; HK Hong Kong;
HN Honduras; HR Croatia; HT Haiti; HU Hungary; ID Indonesia; IE Ireland; IL Israel; IM Isle of Man; IN India;
IO British Indian Ocean Territory; IQ Iraq; IR Iran; IS Iceland; IT Italy; JE Jersey; JM Jamaica; JO Jordan; JP Japan;
KE Kenya; KG Kyrgyzstan; KH Cambodia; KI Kiribati; KM Comoros; KN St. Kitts & Nevis; KP North Korea; KR South Korea;
KW Kuwait; KY Cayman Islands; KZ Kazakhstan; LA Laos; LB Lebanon; LC St. Lucia; LI Liechtenstein; LK Sri Lanka; LR Liberia;
LS Lesotho; LT Lithuania; LU Luxembourg; LV Latvia; LY Libya; MA Morocco; MC Monaco; MD Moldova; ME Montenegro;
MF St. Martin; MG Madagascar; MH Marshall Islands; MK North Macedonia; ML Mali; MM Myanmar; MN Mongolia; MO Macao;
MP Northern Mariana Islands; MQ Martinique; MR Mauritania; MS Montserrat; MT Malta; MU Mauritius; MV Maldives; MW Malawi;
MX Mexico; MY Malaysia; MZ Mozambique; NA Namibia; NC New Caledonia; NE Niger; NF Norfolk Island; NG Nigeria; NI Nicaragua;
NL Netherlands; NO Norway; NP Nepal; NR Nauru; NU Niue; NZ New Zealand; OM Oman; PA Panama; PE Peru; PF French Polynesia;
PG Papua New Guinea; PH Philippines; PK Pakistan; PL Poland; PM St. Pierre & Miquelon; PN Pitcairn Islands; PR Puerto Rico;
PS Palestine; PT Portugal; PW Palau; PY Paraguay; QA Qatar; RE Réunion; RO Romania; RS Serbia; RU Russia; RW Rwanda;
SA Saudi Arabia; SB Solomon Islands; SC Seychelles; SD Sudan; SE Sweden; SG Singapore; SH St. Helena; SI Slovenia;
SJ Svalbard & Jan Mayen; SK Slovakia; SL Sierra Leone; SM San Marino; SN Senegal; SO Somalia; SR Suriname; SS South Sudan;
ST São Tomé & Príncipe; SV El Salvador; SX Sint Maarten; SY Syria; SZ Eswatini; TC Turks & Caicos Islands; TD Chad;
TF French Southern Territories; TG Togo; TH Thailand; TJ Tajikistan; TK Tokelau; TL Timor-Leste; TM Turkmenistan; TN Tunisia;
TO Tonga; TR Türkiye; TT Trinidad & Tobago; TV Tuvalu; TW Taiwan; TZ Tanzania; UA Ukraine; UG Uganda;
UM U.S. Outlying Islands; US United States; UY Uruguay; UZ Uzbekistan; VA Vatican City; VC St. Vincent & Grenadines;
VE Venezuela; VG British Virgin Islands; VI U.S. Virgin Islands; VN Vietnam; VU Vanuatu; WF Wallis & Futuna; WS Samoa;
XK Kosovo; YE Yemen; YT Mayotte; ZA South Africa; ZM Zambia; ZW Zimbabwe; 001 World; 005 South America; 013 Central America;
021 Northern America; 029 Caribbean; 142 Asia; 150 Europe; 419 Latin America
"""
