"""More words of daily life, long ones among them, in five languages: written by hand, split and drawn by words.py."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ENGLISH = listed("""
ability abundance academy accident accountant achievement activity adventure advertisement advice afternoon agreement
agriculture airplane airport alarm alligator alphabet aluminum ambulance amusement animal anniversary announcement
apartment apology appetite application appointment appreciation architect architecture argument arithmetic arrangement
article assignment assistant astronaut astronomy athlete atmosphere attention attitude attraction audience authority
automobile autumn avenue background backpack badminton bakery barbecue baseball basement basketball bathroom bathtub
beautiful bedroom behavior biography biology blackboard blossom bookshelf bookstore botany boulder brilliant broccoli
brochure business calculator campaign candidate capital carefully cathedral celebration celebrity century ceremony
certificate challenge champion championship character characteristic chemistry childhood civilization classroom
collection college combination comfortable commercial communication community companion comparison competition
complicated composer concentration concert conclusion condition conference confidence confusion congratulations
connection consequence conservation consideration construction container continent contribution conversation
cooperation corporation correspondence costume courage creature creativity criticism crocodiles crossword culture
curiosity currency cylinder dangerous darkness database daughters decision declaration decoration definition delicious
demonstration department description destination detective determination development dialogue difference difficult
digital dimension direction disappointment discipline discount discovery discussion disease distance document
documentary dragonfly earthquake economy education effective electricity electronic elementary elephants embassy
emergency emotion employee employment encyclopedia endless energy entertainment enthusiasm entrance environment
equality equipment especially establishment evidence examination example excellent exception exchange excitement
exercise exhibition existence expedition expensive experience experiment explanation exploration expression
extraordinary fantastic fascinating favorite fiction firefighter fireworks flamingo flexibility formula foundation
fragrance freedom frequency friendship frustration future gallery gasoline generation generosity geography geometry
government graduation grammar grandfather grandparents gravity greenhouse greeting grocery guarantee gymnasium
handkerchief handwriting happiness harmony headache headquarters health heritage hippopotamus hollow honesty horizon
household housework hypothesis identification illustration imagination immediately importance impossible impression
improvement incredible independence independent individual industry influence information ingredient inhabitant
innovation inspiration institution instruction instrument insurance intelligence interesting international internet
interpretation interview introduction invention investigation investment invitation jealous journalist judgment
justice kilogram kilometer kindergarten kindness knowledge laboratory landscape laughter lawnmower leadership
legislation leisure liberty lifetime lightning limitation literature location loneliness magazine magnificent
mammal management manufacturer marathon marriage masterpiece material mathematics measurement mechanic medicine
membership metaphor meteorite minister miracle misunderstanding mixture mobile moment monument motorcycle movement
multiplication musician mysterious mystery narrative nation nationality nature negotiation neighborhood nightmare
nonsense nutrition obligation observation occasion occupation operation opinion opportunity opposite optimism
orchestras organization original ornament outstanding package painting parachute paragraph parliament participant
particular passenger passport password pattern pavement peaceful peninsula perception performance permission
personality perspective pharmacy philosophy photograph photographer physics playground pleasure pneumonia poetry
politician pollution popular population possibility postcard practice preparation presentation president pressure
principle privilege probability procedure process product production profession professor program progress project
pronunciation property protection psychology publication punctuation punishment purpose qualification quality quantity
quarter quarrel questionnaire railway reality reception recipe recommendation refrigerator registration relationship
religion reputation requirement research reservation resolution responsibility restaurants revolution rhinoceros
satellite satisfaction scientist screwdriver sculpture secretary security sentence separate session shampoo shoelace
signature significance similarity situation skyscraper skeleton snowflake society solution specialist spectacular
spreadsheet statement statistics strength structure subject substitute subtraction suggestion supermarket surgeon
surprise surroundings sympathy symphony system technology telegram television temperature temptation territory
thermometer thoughtful thousand timetable together toothbrush toothpaste tradition traffic transformation translation
transportation traveler triumph trousers typewriter ultimate unbelievably underground understanding unfortunately
uniform universe unnecessary unusual variety ventilation veterinarian video vinegar virtue visitor vocabulary
volleyball volunteer vulnerable waterproof wavelength website weekend welcome wheelbarrow wheelchair whatever
wilderness windmill wisdom workshop worldwide xylophone yesterday youngster zoology letter letters about after again
before between every from have here many more most much other over people right should some than their there these
they thing this those through under until very when where which while would your hello thanks please sorry friend
coding computer software hardware keyboard network server python kernel compiler variable function parameter tensor
transformer attention quantization inference tokenizer benchmark repository developer
""")
FRENCH = listed("""
accident acteur adresse affaire aéroport agriculture ambulance amitiés anniversaire appartement apprentissage après
ascenseur aspirateur assurance atelier aujourd autoroute aventure bâtiment beaucoup besoin bicyclette bonheur bonjour
boulangerie bureau calendrier camion campagne capitale casserole cathédrale cauchemar chaussette chauffeur cheveux
chirurgien cinéma coiffeur collègue communication compagnie comprendre concert confiture connaissance construction
conversation coquelicot corbeille couverture cravate croissant curiosité cyclisme danseur découverte déjeuner
demain développement dictionnaire dimension directeur distance docteur document douleur eau économie éducation
électricité embouteillage émission enseignement environnement épicerie espérance étudiant événement exercice
expérience explication extraordinaire fatigue fauteuil fonctionnaire fontaine formidable fougère gouvernement
grammaire gymnastique habitude hirondelle hôpital horizon hôtel humidité imagination immeuble incroyable
information ingénieur instituteur intelligence international internationale jalousie jeunesse journaliste justice
kilomètre laboratoire lendemain liberté librairie littérature locomotive logiciel longtemps lunettes machine
malheureusement mathématiques médecin mémoire mensonge merveilleux météorologie miroir moustache mystère
nourriture nouveauté numéro océan ordinateur orchestre ouvrier pamplemousse parapluies parlement passeport patience
pâtisserie pharmacie philosophie photographie physique plaisir politesse pomme possibilité poubelle printanier
professeur programme promenade quelque question quotidien réfrigérateur renseignement responsabilité restaurant
réunion révolution rhinocéros sanglier santé satellite savoir sculpture secrétaire sécurité sentiment silence
solitude souvenir spectacle supermarché symphonie télévision température théâtre tournesol tradition tranquillité
travail trottoir université vacances vaisselle vêtement victoire vocabulaire volonté anticonstitutionnellement
""")
GERMAN = listed("""
Abenteuer Abteilung Adresse Aktentasche Allgemeinheit Ampel Anfang Angelegenheit Antwort Arbeit Arbeitszimmer
Aufgabe Aufmerksamkeit Ausflug Ausstellung Autobahn Bahnsteig Balkon Bedeutung Beispiel Benutzer Bereich Bericht
Beruf Besuch Betriebssystem Bibliothek Bildschirm Bürgermeister Bürgersteig Computer Dachboden Datenbank Donnerstag
Durchschnitt Eichhörnchen Eigenschaft Einkaufszentrum Einladung Eisenbahn Elektrizität Entfernung Entscheidung
Entschuldigung Entwicklung Erfahrung Erfindung Ergebnis Erinnerung Ernährung Fahrplan Feierabend Ferien Fernseher
Feuerwehr Fingernagel Flughafen Flüssigkeit Forschung Fortschritt Frage Freiheit Freundschaft Frühstück Führerschein
Fußball Gänseblümchen Geburtstag Gedanke Gedicht Gefühl Gelegenheit Gemeinschaft Generation Gerechtigkeit Gericht
Geschenk Geschwindigkeit Gesellschaft Gespräch Gesundheit Gewitter Gleichgewicht Großmutter Großvater Handschuh
Handtuch Hauptbahnhof Haustier Heimat Herausforderung Hochzeit Hubschrauber Information Ingenieur Jahreszeit
Jugendherberge Kaffeemaschine Kalender Kindergarten Kleiderschrank Klimaanlage Konzert Kopfhörer Krankenhaus
Krankenwagen Kugelschreiber Kühlschrank Künstler Landschaft Lebensmittel Leidenschaft Lieblingsfarbe Lokomotive
Luftballon Maschine Mathematik Meinung Mitternacht Möglichkeit Motorrad Nachbar Nachmittag Nachricht Nashorn
Öffentlichkeit Orchester Ordnung Parkplatz Persönlichkeit Pfannkuchen Physik Polizei Programm Rechnung Regenschirm
Reisepass Reißverschluss Rolltreppe Sammlung Schauspieler Schmetterlinge Schornstein Schreibtisch Schwierigkeit
Selbstverständlichkeit Sonnenblume Sonnenschein Spaziergang Sprache Staubsauger Straßenbahn Streichholz Tankstelle
Taschenlampe Temperatur Theater Traum Treppenhaus Überraschung Übersetzung Umgebung Unterricht Unterschied
Veranstaltung Verantwortung Verbindung Vergangenheit Verständnis Vertrauen Wahrheit Waschmaschine Wasserfall
Weihnachten Werkzeug Wirtschaft Wissenschaft Wochenende Wohnung Wörterbuch Zahnarzt Zahnbürste Zeitschrift
Zufriedenheit Zukunft Zusammenarbeit Zuverlässigkeit bitte danke heute morgen gestern immer vielleicht zusammen
""")
SPANISH = listed("""
abogado abuela accidente actividad aeropuerto agricultura ajedrez alcalde alegría alfombra almacén almuerzo
ambulancia amabilidad anaranjado aniversario apartamento aprendizaje ascensor asignatura aspiradora astronauta
autobús autopista ayuntamiento barrio bienvenido bolígrafo bombero bondad calabaza calendario camarero camiseta
campeonato capítulo carretera cartero celebración centímetro cereal champiñón cinturón ciencia civilización
cocinero colección comunicación computadora concierto confianza conocimiento construcción conversación cuaderno
cualquier cumpleaños curiosidad danza decisión dentista deporte desarrollo descubrimiento despertador diccionario
dificultad dinosaurio dirección discusión distancia domicilio economía edificio educación ejemplo ejercicio
electricidad enciclopedia enfermera enseñanza entonces equipaje esperanza estación estrategia estudiante examen
experiencia explicación extraordinario farmacia felicidad ferretería fontanero fotografía frigorífico funcionario
garbanzo generación gimnasio gobierno golondrina gramática habitación helicóptero hermosura hipopótamo horizonte
hospital humanidad identidad imaginación importancia impresora independencia información ingeniero inteligencia
internacional investigación invitación jirafas juguete justicia kilómetro laboratorio lavadora libertad librería
literatura locomotora maravilloso mariposas matemáticas medicina mensaje mermelada microscopio mochila montañas
motocicleta movimiento murciélago naturaleza navegador necesidad nosotros noticia objetivo oficina oportunidad
ordenador orquesta panadería pantalla parlamento pasaporte película peluquería pensamiento periódico personalidad
pescador pintura población posibilidad pregunta presidente primavera probabilidad profesor programa pronunciación
quizás recuerdo relámpago respuesta responsabilidad restaurante revolución rinoceronte sabiduría semáforo
sentimiento siempre significado silencio soledad supermercado teléfono televisión temperatura tenedores terremoto
tortuguita trabajo tradición traducción tranquilidad universidad vacaciones velocidad ventilador verdadero vocabulario
voluntad zapatería otorrinolaringólogo
""")
JAPANESE = listed("""
朝日 医学 意味 運動 英語
駅前 会社 会話 科学 火山 歌手 学生証 環境 季節 教育 教室 銀行 経験 経済 警察 結果 研究 健康 建物 交通
公園 紅葉
国際 今年 作文 散歩 試験 仕事 自然 質問 社会 自由 住所 出発 準備 将来 神社 政治 世紀 説明 選手 洗濯 掃除 卒業 大会
台風 地下鉄
地球 地図 中心 注意 天気 電気 動物 図書館 内容 日記 人気 農業 博物館 花火 番号 飛行場 美術館 病院 文化 平和 法律
方法 冒険 翻訳
窓口 漫画 港 昔話 目的 野球 郵便局 幼稚園 理由 旅行 歴史 練習 録音 ありがとう おはよう こんにちは すべりだい
なつやすみ ひらがな ふゆやすみ ほしぞら まつぼっくり ゆきだるま
""")
