"""Names that function calls are about: cities, their short forms, given names, months and days."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.strip().replace("\n", "").split("|"))


CITIES = _listed("""
Paris|London|Berlin|Madrid|Rome|Vienna|Tokyo|Kyoto|Osaka|New York|San Francisco|Los Angeles|Chicago|Boston|Seattle|
Denver|Austin|Dallas|Houston|Miami|Atlanta|Toronto|Montreal|Vancouver|Ottawa|Calgary|Mexico City|Lima|Bogota|Quito|
Santiago|La Paz|Buenos Aires|Montevideo|Sao Paulo|Brasilia|Recife|Lisbon|Porto|Seville|Valencia|Bilbao|Barcelona|
Lyon|Marseille|Nice|Lille|Nantes|Bordeaux|Toulouse|Geneva|Zurich|Basel|Bern|Milan|Turin|Naples|Venice|Florence|
Bologna|Palermo|Munich|Hamburg|Cologne|Frankfurt|Leipzig|Dresden|Bremen|Stuttgart|Salzburg|Graz|Linz|Prague|Brno|
Bratislava|Budapest|Warsaw|Krakow|Gdansk|Poznan|Vilnius|Riga|Tallinn|Helsinki|Turku|Stockholm|Malmo|Uppsala|Oslo|
Bergen|Trondheim|Copenhagen|Aarhus|Odense|Reykjavik|Dublin|Cork|Galway|Belfast|Glasgow|Edinburgh|Aberdeen|Leeds|
York|Bristol|Oxford|Cambridge|Liverpool|Manchester|Cardiff|Brussels|Antwerp|Ghent|Bruges|Amsterdam|Rotterdam|
Utrecht|The Hague|Luxembourg|Athens|Patras|Sofia|Bucharest|Belgrade|Zagreb|Split|Ljubljana|Sarajevo|Skopje|Tirana|
Istanbul|Ankara|Izmir|Tbilisi|Yerevan|Baku|Cairo|Alexandria|Tunis|Algiers|Rabat|Casablanca|Dakar|Accra|Lagos|Abuja|
Nairobi|Mombasa|Kampala|Kigali|Addis Ababa|Luanda|Lusaka|Harare|Pretoria|Cape Town|Durban|Dubai|Doha|Muscat|Riyadh|
Amman|Beirut|Jerusalem|Tehran|Kabul|Karachi|Lahore|Delhi|Mumbai|Chennai|Kolkata|Pune|Colombo|Dhaka|Kathmandu|
Yangon|Bangkok|Hanoi|Da Nang|Phnom Penh|Vientiane|Kuala Lumpur|Singapore|Jakarta|Manila|Cebu|Taipei|Hong Kong|
Shanghai|Beijing|Shenzhen|Chengdu|Seoul|Busan|Incheon|Nagoya|Sapporo|Fukuoka|Kobe|Sendai|Hiroshima|Nara|Sydney|
Melbourne|Perth|Brisbane|Adelaide|Hobart|Canberra|Auckland|Wellington|Christchurch|Suva|Honolulu|Anchorage|
Portland|Phoenix|Detroit|Memphis|Nashville|Orlando|Tampa|Omaha|Tulsa|Boise|Reno|Las Vegas|San Diego|San Jose|
Sacramento|Salt Lake City|St. Louis
""")
CITIES_JA = _listed("""
東京|大阪|京都|名古屋|札幌|福岡|神戸|仙台|広島|奈良|横浜|千葉|金沢|長崎|鹿児島|那覇|新潟|静岡|
岡山|熊本|松山|高松|パリ|ロンドン|ベルリン|マドリード|ローマ|ウィーン|ニューヨーク|シカゴ|ボストン|
シアトル|トロント|リスボン|ミラノ|プラハ|ソウル|バンコク|ハノイ|シドニー|カイロ|アテネ|オスロ|ダブリン|
デリー|モスクワ|リマ|ドバイ
""")
SHORT_CITIES = dict(
    pair.split("=")
    for pair in _listed("""
SF=San Francisco|NYC=New York|LA=Los Angeles|DC=Washington|SLC=Salt Lake City|Philly=Philadelphia|Vegas=Las Vegas|
KL=Kuala Lumpur|HK=Hong Kong|Frisco=San Francisco|CDMX=Mexico City|BA=Buenos Aires|San Fran=San Francisco|
NOLA=New Orleans
""")
)
NAMES = _listed("""
Ada|Adam|Aiko|Aisha|Alan|Alba|Alice|Amir|Ana|Andrei|Anja|Anton|Arjun|Astrid|Ayumi|Bea|Ben|Bianca|Boris|Bruno|Carla|
Carlos|Cecile|Chen|Chloe|Clara|Daniel|Daria|David|Deepa|Diego|Dora|Edith|Elena|Elias|Ella|Emil|Emma|Enzo|Erik|
Esther|Eva|Fatima|Felix|Fiona|Frida|Gabriel|Georg|Gina|Grace|Greta|Hana|Hannah|Harry|Hassan|Helen|Henry|Hugo|Ian|
Ida|Ines|Ingrid|Irene|Isaac|Ivan|Jack|Jana|Jane|Jasper|Joan|Johan|Jonas|Jose|Julia|Jun|Kai|Karim|Karin|Katya|Kenji|
Kira|Lars|Laura|Lea|Leo|Lin|Lola|Luca|Lucia|Luis|Maia|Marco|Maria|Marta|Max|Maya|Mei|Mia|Milan|Mina|Mohamed|Mona|
Nadia|Nia|Nils|Nina|Noah|Nora|Olga|Oliver|Omar|Oscar|Otto|Paola|Paul|Pavel|Peter|Petra|Pia|Priya|Quinn|Rafael|Ravi|
Rei|Rita|Robin|Rosa|Ruth|Sam|Sana|Sara|Sofia|Sven|Tara|Tariq|Theo|Tina|Tom|Uma|Vera|Victor|Viola|Wei|Wendy|Yara|
Yuki|Yusuf|Zara|Zoe
""")
MONTHS = _listed("January|February|March|April|May|June|July|August|September|October|November|December")
DAYS = _listed("Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday")
PRODUCTS = _listed("""
laptop|banana|bicycle|apple|phone|camera|television|coffee machine|toaster|umbrella|backpack|orange|pair of shoes|
T-shirt|jacket|chair|desk|lamp|sofa|mattress|headset|keyboard|mouse|monitor|printer|tablet|watch|guitar|piano|violin|
drum|skateboard|scooter|helmet|tent|sleeping bag|notebook|pencil|eraser|book|bottle of milk|loaf of bread|egg|cucumber|
tomato|potato|pineapple|avocado|lemon|mango|pizza|burger|sandwich|cake|cup of coffee|cup of tea|ticket|car|truck|tire|
hammer|screwdriver|drill|ladder|bucket|broom|vacuum cleaner|washing machine|fridge|oven|kettle|frying pan|knife|spoon|
plate|mug|towel|pillow|blanket|curtain|carpet|mirror|candle|vase|necklace|ring|hat|scarf|pair of gloves|belt|wallet|
suitcase|toothbrush|bar of soap|bottle of water|football|tennis racket|chess set|puzzle|doll|toy train|graphics card|
hard drive|USB cable|charger|router|speaker|microphone|e-bike|kayak|surfboard|house|yacht|olive oil|ice cream
""")
PRODUCTS_ELSEWHERE = {
    "fr": _listed("ordinateur|vélo|banane|pomme|téléphone|lampe|livre|chaise|café|pain"),
    "de": _listed("Laptop|Fahrrad|Banane|Apfel|Telefon|Lampe|Buch|Stuhl|Kaffee"),
    "es": _listed("portátil|bicicleta|plátano|manzana|teléfono|lámpara|libro|silla|café"),
    "ja": _listed("ノートパソコン|自転車|バナナ|りんご|電話|カメラ|傘|本|椅子|コーヒー|靴|時計|机|ケーキ|牛乳"),
}
