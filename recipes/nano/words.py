"""Word and name material of the curriculum: lists written by hand, words and names made of syllables, and their split.

A word is held out of training by a hash of its lower-case spelling (about one in ten), whether it stands in a list or
is made up, so both sides of the split are known without a list of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from zlib import crc32

from recipes.nano import everyday_words as everyday
from recipes.nano.everyday_words import listed

LANGUAGES = ("en", "ja", "fr", "de", "es")
ALWAYS_HELD_OUT = frozenset({"strawberry", "banana", "mississippi", "raspberry", "blueberry"})


NOUNS = listed("""
apple arm army artist aunt baby bag baker ball balloon band bank barn basket bath battery beach bean bear beard bed
bee bell belt bench berry bicycle bird biscuit blanket boat body bone book boot bottle bowl box boy branch bread
breakfast breeze brick bridge broom brother brush bubble bucket building bus butter butterfly button cabbage cabin
cable cake calendar camel camera camp candle candy canoe canvas captain car card carpet carrot castle cat caterpillar
cattle cave cello cellar chair chalk cheese cherry chess chest chicken child chimney chocolate church cinnamon circle
circus city clay climate clock cloth cloud clown coach coal coast coat cobweb coconut coffee coin collar color comet
committee computer cookie copper coral corn corner cottage cotton country cousin cow crab cradle cream cricket
crocodile crow crowd crown cucumber cup cupboard curtain cushion customer daisy dance daughter dawn day deer dentist
desert desk dessert diamond dictionary dinner dinosaur dish doctor dog doll dolphin donkey door dragon drawer dream
dress drum duck dust eagle ear earth egg elbow elephant elevator emerald engine engineer envelope evening eye face
factory family farm farmer father feather fence festival field finger fire fireplace fish flag flame floor flour
flower flute fly fog folder foot football forest fork fountain fox freckle friend frog fruit furniture galaxy garage
garden garlic gate giant ginger giraffe girl glacier glass glove goat gold goose grandmother grape grass grasshopper
guitar hair hallway hamburger hammer hammock hamster hand harbor harvest hat hawk hazelnut heart hedgehog helicopter
helmet hen hill history hobby honey hook horse hospital hotel hour house hurricane ice island ivory jacket jaguar jar
jelly jellyfish jewel journey juice jungle kangaroo kettle key keyboard king kitchen kite kitten knee knife koala
ladder lady lake lamp language lantern laptop lawn lawyer leaf leather lemon lemonade leopard letter lettuce library
light lily lion lizard lobster lock luggage lunch machine magnet mailbox mango map maple marble market marmalade mask
meadow meal melody memory message metal microscope midnight milk mill minute mirror money monkey month moon morning
mosquito moss mother motor mountain mouse mouth muffin museum mushroom music mustard napkin neck necklace needle
neighbor nest newspaper night noodle nose notebook number nurse nut oak oatmeal ocean office oil olive onion orange
orchard orchestra ostrich otter oven owl oyster paint painter pajamas palace pancake panda paper parade parent park
parrot party pasta path peach peacock peanut pear pearl pebble pelican pen pencil penguin people pepper piano picnic
picture pie pig pigeon pillow pilot pine pineapple pirate pizza planet plant plate player pocket poem poet pond
popcorn porcupine potato prince princess printer prize pumpkin puppet puppy puzzle pyramid queen question rabbit
raccoon radio rail rain rainbow raven restaurant ribbon rice riddle ring river road robin robot rocket roof room root
rope rose ruby ruler saddle sailor salad salmon salt sand sandwich saucer scarf school science scissors scooter sea
seal season secret seed shadow shark sheep sheet shell ship shirt shoe shop shoulder shovel silk silver singer sister
skirt skunk sky sleeve snail snake snow soap sock sofa soldier song soup spaceship sparrow spider spinach spoon spring
squirrel stable stadium stairs star station statue stone storm story stove strawberry street student submarine sugar
suitcase summer sun sunflower sunset supper swamp swan sweater table tablet tadpole tailor taxi tea teacher teapot
telephone telescope temple tent theater thief thread throat thumb thunder ticket tiger toast toe tomato tongue tooth
tornado tortoise towel tower town toy tractor train treasure tree triangle trumpet tulip tunnel turkey turtle umbrella
uncle unicorn university vacation valley vanilla vase vegetable vehicle village violet violin volcano wagon waiter
wall walnut walrus water waterfall watermelon wave weather wedding week whale wheat wheel whistle wife willow wind
window winter wizard wolf woman wood wool word world worm wrist writer yard year yogurt zebra zipper banana raspberry
blueberry blackberry cranberry bookkeeper mississippi tennessee massachusetts accommodation assassin balcony
cappuccino embarrassment possession millennium parallel rhythm onomatopoeia address success
""")
ADJECTIVES = listed("""
able absent amber ancient angry awake bitter black blue bold brave bright brown busy calm careful cheap cheerful clean
clear clever cold cool crimson crispy curious curly damp dark deep different dry early easy elegant empty faint famous
fast fierce flat fluffy fresh friendly full funny generous gentle golden good grateful gray great green grumpy happy
hard heavy helpful hollow honest huge hungry icy jolly juicy kind large late lazy light little lively lonely long loud
lovely lucky mild modern narrow neat nervous new nice noisy odd old orange pale patient perfect pink plain polite poor
pretty proud purple quick quiet rapid rare red rich ripe rough round rusty sad safe salty scarlet shallow sharp shiny
short shy silent silly simple sleepy slim slow small smooth soft solid sour spicy steep sticky strange strong sunny
sweet swift tall tame tender thick thin tidy tiny tired tough useful warm weak wet white wide wild wise wonderful
wooden yellow young unbelievable necessary possible terrible
""")
VERBS = listed("""
accept add agree allow answer appear argue arrange arrive ask bake balance begin believe bend blow boil borrow bounce
break breathe bring build burn buy call carry catch change chase check cheer choose clap climb close collect compare
complete cook copy count cover cross cry cut deliver describe dig discover divide draw drink drive drop eat enjoy
enter escape examine explain explore fall feed feel fill find finish fix float fold follow forget gather give glow
greet grow guess hang happen hear help hide hold hop hope hug hurry imagine improve invent invite join jump keep kick
kiss knit knock know laugh lead learn leave lend lift like listen live look lose love make march measure meet melt mix
move need notice offer open order paddle pass pay peel pick plan play point pour prepare press promise pull push read
receive relax remember repair repeat rest return ride roll run sail save scatter search see sell send share shout show
sing sit skate sleep slide smell smile sneeze solve speak spell spend splash stand start stay steal stop study sweep
swim swing take talk teach tell thank think throw touch travel try turn understand use visit wait walk wander want
wash watch wave wear whisper win wish wonder work worry wrap write yawn
""")
FRENCH = listed("""
abeille abricot agneau aiguille ail amitié ananas âne année arbre argent armoire assiette automne avion avocat bague
balle banane bateau beurre bibliothèque bière bijou blé bois bougie boulanger bouteille bras cahier canard carotte
cerise chaise chambre champignon chanson chapeau château chaussure chemin chemise cheval chèvre chien chocolat ciel
citron clé coq cochon colline concombre coquillage couleur couteau crayon crème cuisine cuillère dent dimanche école
écureuil église éléphant enfant escargot étoile été famille farine fenêtre ferme fête feuille fille fleur forêt
fourchette fourmi fraise framboise frère fromage fruit gâteau genou girafe glace gomme grenouille hérisson hibou
histoire hiver horloge huile île jardin jour journal jupe lait lampe langue lapin légume lettre lit livre loup lumière
lune magasin main maison marché matin mer miel montagne montre mouche mouton musique neige noix nuage oiseau orage
oreille ours pain papillon parapluie pêche peinture pierre pluie poire poisson pomme porte poule printemps raisin
renard repas rivière robe roi rue sable salade semaine serpent soeur soleil soupe souris stylo table tasse tête tortue
train vache vague valise vélo vent verre village ville voiture voyage
""")
GERMAN = listed("""
Abend Ameise Ananas Apfel Arzt Auge Auto Bäcker Bahnhof Ball Baum Berg Bett Bild Birne Blatt Bleistift Blume Boden
Brief Brille Brot Brücke Bruder Buch Butter Dach Dorf Ecke Ei Eichhörnchen Eis Elefant Ente Erdbeere Erde Esel Eule
Fahrrad Familie Feder Fenster Feuer Fisch Flasche Flugzeug Fluss Freund Frosch Frühling Fuchs Gabel Garten Gebäude
Geige Gemüse Geschichte Glas Glocke Gold Gras Gurke Haar Hafen Hammer Hand Hase Haus Hemd Herbst Herz Himbeere Himmel
Hose Huhn Hund Hut Igel Insel Jacke Jahr Junge Kaffee Kamel Karotte Kartoffel Käse Katze Kaninchen Kerze Kind Kirche
Kirsche Kissen Kleid Koch Koffer König Kopf Korb Kuchen Kuh Küche Lampe Laterne Lehrer Licht Lied Löffel Löwe Luft
Mantel Markt Maus Meer Mehl Messer Milch Mond Morgen Mücke Mund Musik Mutter Nacht Nadel Nase Nebel Nuss Ohr Papier
Pferd Pflaume Pilz Platz Quelle Rabe Regen Regenbogen Ring Rose Rucksack Salz Sand Schaf Schatten Schiff Schildkröte
Schlange Schlüssel Schmetterling Schnecke Schnee Schokolade Schule Schuh Schwester See Sommer Sonne Spiegel Stadt
Stein Stern Stiefel Strand Straße Stuhl Suppe Tag Tasche Tasse Teller Tisch Tür Uhr Vater Vogel Wagen Wald Wand Wasser
Weg Wein Welle Wetter Wiese Wind Winter Woche Wolke Wolf Wurst Zahn Zeit Zeitung Ziege Zimmer Zitrone Zucker Zug
Zwiebel
""")
SPANISH = listed("""
abeja abrigo aceite agua aguja ajo almohada amarillo amigo amistad anillo árbol ardilla arena arroz avión azúcar
ballena banco barco biblioteca bicicleta boca bosque bota botella brazo burro caballo cabeza cabra café caja calle
cama camino camisa campana canción caracol carne carta casa castillo cebolla cereza cielo ciruela ciudad cocina coche
cocodrilo collar conejo corazón cuchara cuchillo cuento dedo desayuno diente domingo elefante enero escalera escoba
escuela espejo estrella falda familia fiesta flor fresa fuego fuente gallina gato girasol granja guitarra hermano
hielo hierba hija historia hoja hormiga huevo iglesia invierno isla jabón jardín jirafa juego lago lámpara lápiz leche
lechuga león libro limón llave lluvia lobo luna luz madera maleta mano mantequilla manzana mañana mar mariposa martes
mercado mesa miel mono montaña mosca mundo naranja nariz nieve niño noche nube ojo oreja oso otoño oveja pájaro
palabra paloma pan papel paraguas pared parque pato pelota pera perro pescado piedra pierna pimienta plátano plato
playa pluma pollo primavera puente puerta queso ratón reina reloj rey río rosa sal sandía semana serpiente silla sol
sombrero sopa sueño tarde taza tenedor tiempo tienda tierra tigre tomate toro tortuga tren uva vaca vaso ventana
verano viento vino zanahoria zapato zorro ferrocarril
""")
JAPANESE = listed("""
犬 猫 鳥 魚 馬 牛 羊 豚 熊 猿 虎 象 兎 亀 蛇 蛙 蝶 蜂 蟻 花 草 木 森 林 山 川 海 湖 島 空 雲 雨 雪 風 雷 虹 星 月 太陽
朝 昼 夜 春 夏 秋 冬 今日 明日 昨日 時間 家 部屋 窓 扉 机 椅子 鏡 時計 電話 写真 手紙 本 辞書 新聞 鉛筆 紙 鞄 傘 靴 服
帽子 眼鏡 指輪 車 電車 飛行機 船 自転車 駅 道 橋 町 村 都市 国 世界 学校 先生 学生 友達 家族 父 母 兄 姉 弟 妹 子供
医者 料理 朝食 夕食 米 卵 肉 野菜 果物 林檎 桃 梨 葡萄 蜜柑 柿 茶 水 牛乳 砂糖 塩 油 味噌 醤油 豆腐 皿 箸 包丁 音楽 歌
絵 映画 物語 言葉 文字 数字 名前 色 赤 青 白 黒 緑 黄色 紫 金 銀 鉄 石 砂 土 火 光 影 音 声 心 頭 顔 目 耳 鼻 口 手 足
指 夢 旅 祭り さくら ひまわり たまご りんご みかん いちご すいか きのこ にんじん たまねぎ じゃがいも うさぎ きつね
たぬき かえる とんぼ ほたる ことば なまえ おかし
""")
KATAKANA = dict(
    pair.split("=")
    for pair in listed("""
ストロベリー=strawberry バナナ=banana ブルーベリー=blueberry ラズベリー=raspberry オレンジ=orange レモン=lemon
メロン=melon チェリー=cherry パイナップル=pineapple マンゴー=mango トマト=tomato キャロット=carrot ポテト=potato
オニオン=onion キャベツ=cabbage ペッパー=pepper バター=butter チーズ=cheese ミルク=milk コーヒー=coffee
チョコレート=chocolate キャンディー=candy クッキー=cookie ケーキ=cake ジュース=juice サラダ=salad スープ=soup
サンドイッチ=sandwich ハンバーガー=hamburger ピザ=pizza シュガー=sugar コンピューター=computer カメラ=camera
ラジオ=radio テレビ=television キーボード=keyboard プリンター=printer ロボット=robot ロケット=rocket エンジン=engine
バッテリー=battery ホテル=hotel レストラン=restaurant オフィス=office スーパー=super タクシー=taxi バス=bus
ヘリコプター=helicopter エレベーター=elevator ギター=guitar ピアノ=piano バイオリン=violin ドラム=drum
トランペット=trumpet フルート=flute ミュージック=music ダンス=dance サッカー=soccer テニス=tennis
バスケットボール=basketball ライオン=lion タイガー=tiger ペンギン=penguin ドルフィン=dolphin カンガルー=kangaroo
コアラ=koala パンダ=panda ウサギ=rabbit ドラゴン=dragon フラワー=flower ローズ=rose チューリップ=tulip ガーデン=garden
フォレスト=forest マウンテン=mountain リバー=river オーシャン=ocean ビーチ=beach サマー=summer ウィンター=winter
スプリング=spring レインボー=rainbow サンダー=thunder スター=star ムーン=moon プラネット=planet クリスマス=christmas
カレンダー=calendar ノート=notebook ペンシル=pencil ブック=book ライブラリー=library レター=letter メッセージ=message
テーブル=table ソファー=sofa カーテン=curtain ランプ=lamp キッチン=kitchen ドア=door タワー=tower ブリッジ=bridge
マーケット=market セーター=sweater ジャケット=jacket ポケット=pocket ボタン=button リボン=ribbon ダイヤモンド=diamond
シルバー=silver
""")
)
"""Loanwords in katakana and the English word that each one spells."""

_SYLLABLES = {
    "en": (
        listed("b c d f g h j k l m n p r s t v w bl br ch cl cr dr fl gr pl pr sh sl st str th tr wh qu"),
        listed("a e i o u ai ea ee oo ou"),
        ("", "", "", *listed("n r l s t m d ck ll ss nd rt st x p g z ng")),
    ),
    "fr": (
        listed("b c d f g l m n p r s t v ch cr fr gr pl tr j qu"),
        listed("a e i o u ou ai eau é è oi"),
        ("", "", "", *listed("n r l s t ne lle tte sse nt x")),
    ),
    "de": (
        listed("b d f g h k l m n r s t w z sch st sp br gr kr fr tr pf"),
        listed("a e i o u ei ie au ä ö ü"),
        ("", "", "", *listed("n r l t ch ck ng nd rt st ff tz ss")),
    ),
    "es": (
        listed("b c d f g l m n p r s t v j ll ñ tr br ch gr pl qu"),
        listed("a e i o u ia ue io á ó"),
        ("", "", "", *listed("n r l s z d")),
    ),
    "ja": (
        listed("k s t n h m y r g z d b sh ch ky ry"),
        listed("a i u e o"),
        ("", "", "", "", "n"),
    ),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_RUDE = listed("""
shit fuck cunt nigg fagg dick cock puss bitc whor slut rape porn anus penis vagin boob titt piss wank twat jizz nazi
hitl hure fotz arsc fick schwul muschi merd puta pute salop mierd coño poll joder culo maric verga chink kike spick
negro retard lesb sex scheis scheiß kacke unko chinko manko
""")
_RUDE_WORDS = frozenset(
    listed("""
ass arse tit tits fag fags jap jew hoe cum gay poo pee fart turd con cul bite kkk crap hell damn kill die
""")
)
"""What made-up names must not spell: anywhere in them, or as a whole."""
_PLACE_ENDINGS = (
    "ton",
    "ville",
    "burg",
    "field",
    "mouth",
    "dale",
    "ford",
    "ham",
    "stad",
    "mar",
    "port",
    "wick",
    "haven",
)


@cache
def words_of(language: str) -> tuple[str, ...]:
    """Every listed word of a language (one of LANGUAGES), both sides of the split, without repetitions."""
    listed = {
        "en": (*NOUNS, *ADJECTIVES, *VERBS, *everyday.ENGLISH),
        "ja": (*JAPANESE, *everyday.JAPANESE),
        "fr": (*FRENCH, *everyday.FRENCH),
        "de": (*GERMAN, *everyday.GERMAN),
        "es": (*SPANISH, *everyday.SPANISH),
    }
    return tuple(dict.fromkeys(listed[language]))


def is_held_out(word: str) -> bool:
    """Whether a word (listed, made up, or any string) belongs to the evaluation's side of the split."""
    word = word.lower()
    return word in ALWAYS_HELD_OUT or crc32(word.encode()) % 10 == 0


@cache
def train_words(language: str = "en") -> tuple[str, ...]:
    """The listed words that training may use."""
    return tuple(word for word in words_of(language) if not is_held_out(word))


@cache
def held_out_words(language: str = "en") -> tuple[str, ...]:
    """The listed words that only evaluation uses."""
    return tuple(word for word in words_of(language) if is_held_out(word))


def is_rude(text: str) -> bool:
    """Whether made-up text spells something that nobody wants to read."""
    text = text.lower()
    return text in _RUDE_WORDS or any(part in text for part in _RUDE)


def made_up(make: Callable[[], str], *, held_out: bool) -> str:
    """Call make until its word lies on the asked side of the split and can be shown."""
    while is_held_out(word := make()) != held_out or is_rude(word):
        pass
    return word


def pseudo_word(random: Random, language: str = "en", shortest: int = 3, longest: int = 14) -> str:
    """A pronounceable word that means nothing, in lower case, of shortest to longest letters; either side."""
    onsets, nuclei, codas = _SYLLABLES[language]
    while True:
        n_syllables = random.choice((1, 2, 2, 3, 3, 4))
        choice = random.choice
        word = "".join(choice(onsets) + choice(nuclei) + choice(codas) for _ in range(n_syllables))
        if shortest <= len(word) <= longest and not is_rude(word):
            return word


def random_letters(random: Random, shortest: int = 3, longest: int = 10) -> str:
    """Letters without any order, so that every pair of letters is met; either side of the split."""
    while is_rude(word := "".join(random.choices(_LETTERS, k=random.randint(shortest, longest)))):
        pass
    return word


def person_name(random: Random, language: str = "en") -> str:
    """A given name made of syllables, with a capital."""
    return pseudo_word(random, language, 3, 8).capitalize()


def place_name(random: Random, language: str = "en") -> str:
    """A town's name made of syllables, with a capital."""
    while is_rude(name := pseudo_word(random, language, 3, 6) + random.choice(_PLACE_ENDINGS)):
        pass
    return name.capitalize()


def identifier(random: Random, n_parts: int | None = None) -> str:
    """A name as programs have it, snake_case or camelCase, of listed words of training and of made-up ones."""
    n_parts = n_parts or random.choice((1, 2, 2, 3, 3, 4))
    english = train_words("en")
    parts = [
        random.choice(english) if random.random() < 0.6 else pseudo_word(random, "en", 3, 8) for _ in range(n_parts)
    ]
    is_camel = random.random() < 0.3
    return parts[0] + "".join(part.capitalize() for part in parts[1:]) if is_camel else "_".join(parts)
