"""Countries and their capitals in five languages: the facts that nano knows by heart.

A row is country/capital in English, Japanese, French, German and Spanish; a capital left out is spelled as in English,
and countries stand with the article that their language gives them. Countries whose capital is disputed are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from recipes.nano.words import LANGUAGES

_TABLE = """
Australia/Canberra|オーストラリア/キャンベラ|l'Australie|Australien|Australia
France/Paris|フランス/パリ|la France|Frankreich|Francia/París
Japan/Tokyo|日本/東京|le Japon|Japan/Tokio|Japón/Tokio
Germany/Berlin|ドイツ/ベルリン|l'Allemagne|Deutschland|Alemania/Berlín
Spain/Madrid|スペイン/マドリード|l'Espagne|Spanien|España
Italy/Rome|イタリア/ローマ|l'Italie|Italien/Rom|Italia/Roma
Portugal/Lisbon|ポルトガル/リスボン|le Portugal/Lisbonne|Portugal/Lissabon|Portugal/Lisboa
the United Kingdom/London|イギリス/ロンドン|le Royaume-Uni/Londres|das Vereinigte Königreich|el Reino Unido/Londres
Ireland/Dublin|アイルランド/ダブリン|l'Irlande|Irland|Irlanda/Dublín
the Netherlands/Amsterdam|オランダ/アムステルダム|les Pays-Bas|die Niederlande|los Países Bajos/Ámsterdam
Belgium/Brussels|ベルギー/ブリュッセル|la Belgique/Bruxelles|Belgien/Brüssel|Bélgica/Bruselas
Luxembourg/Luxembourg|ルクセンブルク/ルクセンブルク|le Luxembourg|Luxemburg/Luxemburg|Luxemburgo/Luxemburgo
Switzerland/Bern|スイス/ベルン|la Suisse/Berne|die Schweiz|Suiza/Berna
Austria/Vienna|オーストリア/ウィーン|l'Autriche/Vienne|Österreich/Wien|Austria/Viena
Denmark/Copenhagen|デンマーク/コペンハーゲン|le Danemark/Copenhague|Dänemark/Kopenhagen|Dinamarca/Copenhague
Norway/Oslo|ノルウェー/オスロ|la Norvège|Norwegen|Noruega
Sweden/Stockholm|スウェーデン/ストックホルム|la Suède|Schweden|Suecia/Estocolmo
Finland/Helsinki|フィンランド/ヘルシンキ|la Finlande|Finnland|Finlandia
Iceland/Reykjavik|アイスランド/レイキャビク|l'Islande|Island|Islandia/Reikiavik
Poland/Warsaw|ポーランド/ワルシャワ|la Pologne/Varsovie|Polen/Warschau|Polonia/Varsovia
the Czech Republic/Prague|チェコ/プラハ|la République tchèque|Tschechien/Prag|la República Checa/Praga
Slovakia/Bratislava|スロバキア/ブラチスラバ|la Slovaquie|die Slowakei|Eslovaquia
Hungary/Budapest|ハンガリー/ブダペスト|la Hongrie|Ungarn|Hungría
Romania/Bucharest|ルーマニア/ブカレスト|la Roumanie/Bucarest|Rumänien/Bukarest|Rumania/Bucarest
Bulgaria/Sofia|ブルガリア/ソフィア|la Bulgarie|Bulgarien|Bulgaria/Sofía
Greece/Athens|ギリシャ/アテネ|la Grèce/Athènes|Griechenland/Athen|Grecia/Atenas
Turkey/Ankara|トルコ/アンカラ|la Turquie|die Türkei|Turquía
Croatia/Zagreb|クロアチア/ザグレブ|la Croatie|Kroatien|Croacia
Slovenia/Ljubljana|スロベニア/リュブリャナ|la Slovénie|Slowenien|Eslovenia/Liubliana
Serbia/Belgrade|セルビア/ベオグラード|la Serbie|Serbien/Belgrad|Serbia/Belgrado
Albania/Tirana|アルバニア/ティラナ|l'Albanie|Albanien|Albania
Estonia/Tallinn|エストニア/タリン|l'Estonie|Estland|Estonia/Tallin
Latvia/Riga|ラトビア/リガ|la Lettonie|Lettland|Letonia
Lithuania/Vilnius|リトアニア/ビリニュス|la Lituanie|Litauen|Lituania/Vilna
Ukraine/Kyiv|ウクライナ/キーウ|l'Ukraine|die Ukraine/Kiew|Ucrania/Kiev
Belarus/Minsk|ベラルーシ/ミンスク|la Biélorussie|Belarus|Bielorrusia
Moldova/Chisinau|モルドバ/キシナウ|la Moldavie|Moldau|Moldavia/Chisináu
Russia/Moscow|ロシア/モスクワ|la Russie/Moscou|Russland/Moskau|Rusia/Moscú
Malta/Valletta|マルタ/バレッタ|Malte/La Valette|Malta|Malta/La Valeta
Cyprus/Nicosia|キプロス/ニコシア|Chypre/Nicosie|Zypern/Nikosia|Chipre
Georgia/Tbilisi|ジョージア/トビリシ|la Géorgie/Tbilissi|Georgien/Tiflis|Georgia/Tiflis
Armenia/Yerevan|アルメニア/エレバン|l'Arménie/Erevan|Armenien/Eriwan|Armenia/Ereván
Azerbaijan/Baku|アゼルバイジャン/バクー|l'Azerbaïdjan/Bakou|Aserbaidschan|Azerbaiyán/Bakú
China/Beijing|中国/北京|la Chine/Pékin|China/Peking|China/Pekín
South Korea/Seoul|韓国/ソウル|la Corée du Sud/Séoul|Südkorea|Corea del Sur/Seúl
North Korea/Pyongyang|北朝鮮/平壌|la Corée du Nord|Nordkorea/Pjöngjang|Corea del Norte/Pionyang
Mongolia/Ulaanbaatar|モンゴル/ウランバートル|la Mongolie/Oulan-Bator|die Mongolei/Ulan-Bator|Mongolia/Ulán Bator
India/New Delhi|インド/ニューデリー|l'Inde|Indien/Neu-Delhi|India/Nueva Delhi
Pakistan/Islamabad|パキスタン/イスラマバード|le Pakistan|Pakistan|Pakistán
Bangladesh/Dhaka|バングラデシュ/ダッカ|le Bangladesh/Dacca|Bangladesch|Bangladés/Daca
Nepal/Kathmandu|ネパール/カトマンズ|le Népal/Katmandou|Nepal|Nepal/Katmandú
Bhutan/Thimphu|ブータン/ティンプー|le Bhoutan/Thimphou|Bhutan|Bután/Timbu
Afghanistan/Kabul|アフガニスタン/カブール|l'Afghanistan/Kaboul|Afghanistan|Afganistán
Iran/Tehran|イラン/テヘラン|l'Iran/Téhéran|der Iran/Teheran|Irán/Teherán
Iraq/Baghdad|イラク/バグダッド|l'Irak/Bagdad|der Irak/Bagdad|Irak/Bagdad
Syria/Damascus|シリア/ダマスカス|la Syrie/Damas|Syrien/Damaskus|Siria/Damasco
Lebanon/Beirut|レバノン/ベイルート|le Liban/Beyrouth|der Libanon|Líbano
Jordan/Amman|ヨルダン/アンマン|la Jordanie|Jordanien|Jordania/Amán
Saudi Arabia/Riyadh|サウジアラビア/リヤド|l'Arabie saoudite/Riyad|Saudi-Arabien/Riad|Arabia Saudita/Riad
the United Arab Emirates/Abu Dhabi|アラブ首長国連邦/アブダビ|les Émirats arabes unis|
die Vereinigten Arabischen Emirate|los Emiratos Árabes Unidos/Abu Dabi
Qatar/Doha|カタール/ドーハ|le Qatar|Katar|Catar
Kuwait/Kuwait City|クウェート/クウェート市|le Koweït/Koweït|Kuwait/Kuwait-Stadt|Kuwait/Ciudad de Kuwait
Oman/Muscat|オマーン/マスカット|Oman/Mascate|der Oman/Maskat|Omán/Mascate
Kazakhstan/Astana|カザフスタン/アスタナ|le Kazakhstan|Kasachstan|Kazajistán/Astaná
Uzbekistan/Tashkent|ウズベキスタン/タシケント|l'Ouzbékistan/Tachkent|Usbekistan/Taschkent|Uzbekistán/Taskent
Thailand/Bangkok|タイ/バンコク|la Thaïlande|Thailand|Tailandia
Vietnam/Hanoi|ベトナム/ハノイ|le Viêt Nam/Hanoï|Vietnam|Vietnam/Hanói
Cambodia/Phnom Penh|カンボジア/プノンペン|le Cambodge|Kambodscha|Camboya/Nom Pen
Laos/Vientiane|ラオス/ビエンチャン|le Laos|Laos|Laos/Vientián
Myanmar/Naypyidaw|ミャンマー/ネピドー|la Birmanie|Myanmar|Birmania/Naipyidó
Malaysia/Kuala Lumpur|マレーシア/クアラルンプール|la Malaisie|Malaysia|Malasia
Indonesia/Jakarta|インドネシア/ジャカルタ|l'Indonésie|Indonesien|Indonesia/Yakarta
the Philippines/Manila|フィリピン/マニラ|les Philippines/Manille|die Philippinen|Filipinas
New Zealand/Wellington|ニュージーランド/ウェリントン|la Nouvelle-Zélande|Neuseeland|Nueva Zelanda
Fiji/Suva|フィジー/スバ|les Fidji|Fidschi|Fiyi
Papua New Guinea/Port Moresby|パプアニューギニア/ポートモレスビー|la Papouasie-Nouvelle-Guinée|
Papua-Neuguinea|Papúa Nueva Guinea/Puerto Moresby
the United States/Washington|アメリカ/ワシントン|les États-Unis|die Vereinigten Staaten|los Estados Unidos
Canada/Ottawa|カナダ/オタワ|le Canada|Kanada|Canadá
Mexico/Mexico City|メキシコ/メキシコシティ|le Mexique/Mexico|Mexiko/Mexiko-Stadt|México/Ciudad de México
Guatemala/Guatemala City|グアテマラ/グアテマラシティ|le Guatemala/Guatemala|Guatemala/Guatemala-Stadt|
Guatemala/Ciudad de Guatemala
Honduras/Tegucigalpa|ホンジュラス/テグシガルパ|le Honduras|Honduras|Honduras
El Salvador/San Salvador|エルサルバドル/サンサルバドル|le Salvador|El Salvador|El Salvador
Nicaragua/Managua|ニカラグア/マナグア|le Nicaragua|Nicaragua|Nicaragua
Costa Rica/San José|コスタリカ/サンホセ|le Costa Rica|Costa Rica|Costa Rica
Panama/Panama City|パナマ/パナマシティ|le Panama/Panama|Panama/Panama-Stadt|Panamá/Ciudad de Panamá
Cuba/Havana|キューバ/ハバナ|Cuba/La Havane|Kuba/Havanna|Cuba/La Habana
Jamaica/Kingston|ジャマイカ/キングストン|la Jamaïque|Jamaika|Jamaica
Haiti/Port-au-Prince|ハイチ/ポルトープランス|Haïti|Haiti|Haití/Puerto Príncipe
the Dominican Republic/Santo Domingo|ドミニカ共和国/サントドミンゴ|la République dominicaine/Saint-Domingue|
die Dominikanische Republik|la República Dominicana
Colombia/Bogotá|コロンビア/ボゴタ|la Colombie|Kolumbien|Colombia
Venezuela/Caracas|ベネズエラ/カラカス|le Venezuela|Venezuela|Venezuela
Ecuador/Quito|エクアドル/キト|l'Équateur|Ecuador|Ecuador
Peru/Lima|ペルー/リマ|le Pérou|Peru|Perú
Brazil/Brasília|ブラジル/ブラジリア|le Brésil/Brasilia|Brasilien|Brasil/Brasilia
Paraguay/Asunción|パラグアイ/アスンシオン|le Paraguay|Paraguay|Paraguay
Uruguay/Montevideo|ウルグアイ/モンテビデオ|l'Uruguay|Uruguay|Uruguay
Argentina/Buenos Aires|アルゼンチン/ブエノスアイレス|l'Argentine|Argentinien|Argentina
Chile/Santiago|チリ/サンティアゴ|le Chili|Chile|Chile
Guyana/Georgetown|ガイアナ/ジョージタウン|le Guyana|Guyana|Guyana
Suriname/Paramaribo|スリナム/パラマリボ|le Suriname|Suriname|Surinam
Egypt/Cairo|エジプト/カイロ|l'Égypte/Le Caire|Ägypten/Kairo|Egipto/El Cairo
Morocco/Rabat|モロッコ/ラバト|le Maroc|Marokko|Marruecos
Algeria/Algiers|アルジェリア/アルジェ|l'Algérie/Alger|Algerien/Algier|Argelia/Argel
Tunisia/Tunis|チュニジア/チュニス|la Tunisie|Tunesien|Túnez/Túnez
Libya/Tripoli|リビア/トリポリ|la Libye|Libyen/Tripolis|Libia/Trípoli
Sudan/Khartoum|スーダン/ハルツーム|le Soudan|der Sudan/Khartum|Sudán/Jartum
Ethiopia/Addis Ababa|エチオピア/アディスアベバ|l'Éthiopie/Addis-Abeba|Äthiopien/Addis Abeba|Etiopía/Adís Abeba
Kenya/Nairobi|ケニア/ナイロビ|le Kenya|Kenia|Kenia
Uganda/Kampala|ウガンダ/カンパラ|l'Ouganda|Uganda|Uganda
Rwanda/Kigali|ルワンダ/キガリ|le Rwanda|Ruanda|Ruanda
Tanzania/Dodoma|タンザニア/ドドマ|la Tanzanie|Tansania|Tanzania
Somalia/Mogadishu|ソマリア/モガディシュ|la Somalie/Mogadiscio|Somalia/Mogadischu|Somalia/Mogadiscio
Ghana/Accra|ガーナ/アクラ|le Ghana|Ghana|Ghana/Acra
Nigeria/Abuja|ナイジェリア/アブジャ|le Nigeria|Nigeria|Nigeria/Abuya
Senegal/Dakar|セネガル/ダカール|le Sénégal|der Senegal|Senegal
Mali/Bamako|マリ/バマコ|le Mali|Mali|Malí
Niger/Niamey|ニジェール/ニアメ|le Niger|der Niger|Níger
Chad/N'Djamena|チャド/ンジャメナ|le Tchad|der Tschad|Chad/Yamena
Cameroon/Yaoundé|カメルーン/ヤウンデ|le Cameroun|Kamerun|Camerún/Yaundé
Gabon/Libreville|ガボン/リーブルビル|le Gabon|Gabun|Gabón
Angola/Luanda|アンゴラ/ルアンダ|l'Angola|Angola|Angola
Zambia/Lusaka|ザンビア/ルサカ|la Zambie|Sambia|Zambia
Zimbabwe/Harare|ジンバブエ/ハラレ|le Zimbabwe|Simbabwe|Zimbabue
Mozambique/Maputo|モザンビーク/マプト|le Mozambique|Mosambik|Mozambique
Namibia/Windhoek|ナミビア/ウィントフック|la Namibie|Namibia|Namibia
Botswana/Gaborone|ボツワナ/ハボローネ|le Botswana|Botswana|Botsuana
Madagascar/Antananarivo|マダガスカル/アンタナナリボ|Madagascar|Madagaskar|Madagascar
"""


@dataclass(frozen=True)
class Country:
    """names: with the article where the language puts one. capitals: the same city in each language."""

    names: dict[str, str]
    capitals: dict[str, str]


def _country(row: str) -> Country:
    pairs = [cell.partition("/") for cell in row.split("|")]
    capitals = [capital or pairs[0][2] for _, _, capital in pairs]
    return Country(
        names=dict(zip(LANGUAGES, (name for name, _, _ in pairs), strict=True)),
        capitals=dict(zip(LANGUAGES, capitals, strict=True)),
    )


COUNTRIES = tuple(_country(row) for row in _TABLE.replace("|\n", "|").split("\n") if row)
_ALIASES = {
    "en": {
        "the United States": (
            *("the USA", "USA", "the US", "US", "U.S.", "the U.S.", "U.S.A.", "America", "the States"),
            "the United States of America",
        ),
        "the United Kingdom": ("the UK", "UK", "U.K.", "England", "Britain", "Great Britain"),
        "the Netherlands": ("Holland",),
        "the Czech Republic": ("Czechia",),
        "the United Arab Emirates": ("the UAE", "UAE", "the Emirates"),
        "Ireland": ("the Republic of Ireland",),
        "South Korea": ("Korea", "the Republic of Korea"),
        "Myanmar": ("Burma",),
        "Turkey": ("Türkiye",),
        "Russia": ("the Russian Federation",),
        "China": ("the People's Republic of China", "PRC"),
    },
    "ja": {
        "アメリカ": ("アメリカ合衆国", "米国", "合衆国", "USA"),
        "イギリス": ("英国", "イングランド", "UK"),
        "アラブ首長国連邦": ("UAE",),
        "チェコ": ("チェコ共和国",),
        "韓国": ("大韓民国",),
        "ミャンマー": ("ビルマ",),
        "中国": ("中華人民共和国",),
        "ロシア": ("ロシア連邦",),
    },
    "fr": {
        "les États-Unis": ("les USA", "l'Amérique"),
        "le Royaume-Uni": ("l'Angleterre", "la Grande-Bretagne"),
        "les Pays-Bas": ("la Hollande",),
        "la République tchèque": ("la Tchéquie",),
        "la Birmanie": ("le Myanmar",),
    },
    "de": {
        "die Vereinigten Staaten": ("die USA", "Amerika"),
        "das Vereinigte Königreich": ("England", "Großbritannien"),
        "die Niederlande": ("Holland",),
        "die Vereinigten Arabischen Emirate": ("die VAE",),
        "Moldau": ("Moldawien",),
        "Myanmar": ("Birma",),
        "Belarus": ("Weißrussland",),
    },
    "es": {
        "los Estados Unidos": ("Estados Unidos", "EE. UU.", "USA", "EEUU"),
        "el Reino Unido": ("Inglaterra", "Gran Bretaña", "Reino Unido"),
        "los Países Bajos": ("Holanda", "Países Bajos"),
        "la República Checa": ("Chequia",),
        "Birmania": ("Myanmar",),
    },
}
_ARTICLES = {"en": "the ", "fr": "le |la |les |l'", "de": "der |die |das ", "es": "el |la |los |las ", "ja": "x^"}
_GENITIVES = {
    "fr": (("le ", "du "), ("les ", "des "), ("la ", "de la "), ("l'", "de l'")),
    "de": (("der ", "des "), ("die ", "der "), ("das ", "des ")),
    "es": (("el ", "del "),),
}
_DECLINED = {
    ("fr", "Oman"): "d'Oman",
    ("fr", "Haïti"): "d'Haïti",
    ("de", "das Vereinigte Königreich"): "des Vereinigten Königreichs",
    ("de", "die Dominikanische Republik"): "der Dominikanischen Republik",
}
_OF = {"en": "of ", "fr": "de ", "de": "von ", "es": "de "}


def of_country(name: str, language: str) -> str:
    """A country as it stands after "the capital": "of Japan", "du Japon", "der Schweiz"."""
    if language == "ja":
        return name
    if declined := _DECLINED.get((language, name)):
        return declined
    for article, genitive in _GENITIVES.get(language, ()):
        if name.startswith(article):
            return genitive + name[len(article) :]
    return _OF[language] + name


def without_article(name: str, language: str) -> str:
    """A country as it stands alone: "United States", "Schweiz"."""
    return re.sub(f"^(?:{_ARTICLES[language]})", "", name)


@cache
def aliases(name: str, language: str) -> tuple[str, ...]:
    """What else people call a country, its name without an article among it; often nothing."""
    bare = without_article(name, language)
    short = (bare,) if language == "en" and bare != name else ()
    return short + _ALIASES[language].get(name, ())
