"""The words of the embedded models' world.

Everything the models ever read is put together from these lists, so they are all there is to know about it:
about a thousand everyday words, written for this purpose.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


GIRLS = _words(
    "Mary Anna Lucy Emma Alice Sara Clara Julia Laura Helen Nina Rosa Ruth Jane Kate Lily Maria Eva Amy Ella "
    "Ivy Ida Nora Olga Vera Rita Tina Zoe Mia Lea Grace Hannah Sophie Martha Susan Linda Karen Diana Paula "
    "Judy Betty Carol Donna Wendy Molly Daisy Holly Ellen Greta Irene"
)
BOYS = _words(
    "John Tom Paul Peter Mark James Adam Max Ben Sam Leo Jack David Simon Oscar Henry Felix Martin Robert "
    "Daniel Victor Hugo Frank George Karl Luke Noah Owen Ryan Sean Eric Alan Brian Kevin Jason Roger Steve "
    "Bruce Carl Dean Fred Gary Ian Joel Kurt Neil Omar Pete Ralph Todd"
)
NAMES = GIRLS + BOYS

ROLES = _words(
    "teacher doctor farmer baker nurse pilot driver singer painter king queen lawyer judge sailor soldier "
    "cook gardener writer student captain"
)

# What can be handed over; the article goes with the word.
GIFTS = _phrases(
    "a drink|a book|a ball|a ring|a letter|a cake|a flower|a kiss|a present|a key|a basket|a cup of tea|a map|"
    "a pen|a coat|a hat|a bone|a computer|a necklace|an apple|an orange|an umbrella|a snack|a picture|a lamp|"
    "a camera|a ticket|some money|some bread|some milk|the box|the phone|the keys|the bag"
)
PLACES = _phrases(
    "store|park|school|garden|office|station|restaurant|house|hospital|beach|museum|market|library|zoo|farm|"
    "castle|forest|lake|river|church|bakery|theater|hotel|village|kitchen"
)
ANIMALS = _words("dog cat horse cow bird fish mouse rabbit fox bear duck sheep goat pig frog lion tiger wolf hen owl")
OBJECTS = _words(
    "ball book box kite boat doll drum bell lamp chair table clock hat cup spoon stone stick shell coin ring "
    "rope bag flower apple cake letter picture map key pen"
)
COLOURS = _words("red blue green yellow white black brown pink grey golden")
SIZES = _words("big small little old new tiny huge heavy long round")
WEATHER = _words("sunny rainy windy cold warm cloudy snowy foggy")
TIMES = _phrases(
    "One morning|One day|One evening|Last week|Yesterday|Today|In the summer|In the winter|After lunch|"
    "Before dinner|On the weekend|Late at night"
)

HAPPY = _words(
    "happy glad good great wonderful lovely nice beautiful fun excellent amazing brilliant perfect sweet "
    "delightful joyful"
)
SAD = _words(
    "sad bad awful terrible horrible ugly boring poor dreadful nasty hateful miserable dull angry stupid painful"
)

CAPITALS: dict[str, str] = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "England": "London",
    "Ireland": "Dublin",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Greece": "Athens",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Hungary": "Budapest",
    "Russia": "Moscow",
    "Turkey": "Ankara",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Korea": "Seoul",
    "India": "Delhi",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Canada": "Ottawa",
    "Belgium": "Brussels",
}

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = _words("January February March April May June July August September October November December")
NUMBERS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# Singular and plural of things that can lie near one another.
NOUNS: dict[str, str] = {
    "key": "keys",
    "cabinet": "cabinets",
    "book": "books",
    "shelf": "shelves",
    "flower": "flowers",
    "garden": "gardens",
    "picture": "pictures",
    "wall": "walls",
    "box": "boxes",
    "table": "tables",
    "dog": "dogs",
    "farmer": "farmers",
    "boy": "boys",
    "girl": "girls",
    "teacher": "teachers",
    "letter": "letters",
    "friend": "friends",
    "house": "houses",
    "tree": "trees",
    "bird": "birds",
    "chair": "chairs",
    "door": "doors",
    "window": "windows",
    "car": "cars",
    "king": "kings",
    "child": "children",
    "man": "men",
    "woman": "women",
    "horse": "horses",
    "cup": "cups",
}

LIST_WORDS = tuple(dict.fromkeys((*ANIMALS, *OBJECTS, *COLOURS, *PLACES, *ROLES)))
