"""The languages of NLLB-200: which of the model's codes a BCP-47 tag means.

The codes are those of FLORES-200 (the list "Languages in FLORES-200" of its README); of languages that polydub does not know
by name none is here, and of the spoken varieties of Arabic only those with a tag of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_TABLE = """
af=afr_Latn ak=aka_Latn am=amh_Ethi ar=arb_Arab ary=ary_Arab arz=arz_Arab as=asm_Beng ast=ast_Latn ay=ayr_Latn az=azj_Latn
ba=bak_Cyrl be=bel_Cyrl bg=bul_Cyrl bho=bho_Deva bm=bam_Latn bn=ben_Beng bo=bod_Tibt bs=bos_Latn ca=cat_Latn ceb=ceb_Latn
ckb=ckb_Arab crh=crh_Latn cs=ces_Latn cy=cym_Latn da=dan_Latn de=deu_Latn dz=dzo_Tibt ee=ewe_Latn el=ell_Grek en=eng_Latn
eo=epo_Latn es=spa_Latn et=est_Latn eu=eus_Latn fa=pes_Arab ff=fuv_Latn fi=fin_Latn fil=tgl_Latn fj=fij_Latn fo=fao_Latn
fon=fon_Latn fr=fra_Latn fur=fur_Latn ga=gle_Latn gd=gla_Latn gl=glg_Latn gn=grn_Latn gu=guj_Gujr ha=hau_Latn he=heb_Hebr
hi=hin_Deva hr=hrv_Latn ht=hat_Latn hu=hun_Latn hy=hye_Armn id=ind_Latn ig=ibo_Latn ilo=ilo_Latn is=isl_Latn it=ita_Latn
ja=jpn_Jpan jv=jav_Latn ka=kat_Geor kab=kab_Latn ki=kik_Latn kk=kaz_Cyrl km=khm_Khmr kn=kan_Knda ko=kor_Hang ks=kas_Arab
ks-Deva=kas_Deva ku=kmr_Latn ky=kir_Cyrl lb=ltz_Latn lg=lug_Latn li=lim_Latn lij=lij_Latn lmo=lmo_Latn ln=lin_Latn lo=lao_Laoo
lt=lit_Latn ltg=ltg_Latn luo=luo_Latn lus=lus_Latn lv=lvs_Latn mai=mai_Deva mg=plt_Latn mi=mri_Latn mk=mkd_Cyrl ml=mal_Mlym
mn=khk_Cyrl mni=mni_Beng mr=mar_Deva ms=zsm_Latn mt=mlt_Latn my=mya_Mymr nb=nob_Latn ne=npi_Deva nl=nld_Latn nn=nno_Latn
nso=nso_Latn ny=nya_Latn oc=oci_Latn om=gaz_Latn or=ory_Orya pa=pan_Guru pap=pap_Latn pl=pol_Latn ps=pbt_Arab pt=por_Latn
qu=quy_Latn rn=run_Latn ro=ron_Latn ru=rus_Cyrl rw=kin_Latn sa=san_Deva sat-Beng=sat_Beng sc=srd_Latn scn=scn_Latn sd=snd_Arab
sg=sag_Latn shn=shn_Mymr si=sin_Sinh sk=slk_Latn sl=slv_Latn sm=smo_Latn sn=sna_Latn so=som_Latn sq=als_Latn sr=srp_Cyrl
ss=ssw_Latn st=sot_Latn su=sun_Latn sv=swe_Latn sw=swh_Latn szl=szl_Latn ta=tam_Taml te=tel_Telu tg=tgk_Cyrl th=tha_Thai
ti=tir_Ethi tk=tuk_Latn tn=tsn_Latn tpi=tpi_Latn tr=tur_Latn ts=tso_Latn tt=tat_Cyrl tum=tum_Latn tw=twi_Latn
tzm-Tfng=tzm_Tfng ug=uig_Arab uk=ukr_Cyrl ur=urd_Arab uz=uzn_Latn vec=vec_Latn vi=vie_Latn war=war_Latn wo=wol_Latn
xh=xho_Latn yi=ydd_Hebr yo=yor_Latn yue=yue_Hant zh=zho_Hans zh-Hant=zho_Hant zu=zul_Latn
"""

CODES: Mapping[str, str] = MappingProxyType({tag: code for tag, _, code in (p.partition("=") for p in _TABLE.split())})
