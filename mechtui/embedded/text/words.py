"""The words of the embedded models' world.

Everything the models ever read is put together from these lists, so they are all there is to know about it:
about a thousand everyday words, written for this purpose.
"""

GIRLS = tuple(
    "Mary Anna Lucy Emma Alice Sara Clara Julia Laura Helen Nina Rosa Ruth Jane Kate Lily Maria Eva Amy Ella "
    "Ivy Ida Nora Olga Vera Rita Tina Zoe Mia Lea Grace Hannah Sophie Martha Susan Linda Karen Diana Paula "
    "Judy Betty Carol Donna Wendy Molly Daisy Holly Ellen Greta Irene".split()
)
BOYS = tuple(
    "John Tom Paul Peter Mark James Adam Max Ben Sam Leo Jack David Simon Oscar Henry Felix Martin Robert "
    "Daniel Victor Hugo Frank George Karl Luke Noah Owen Ryan Sean Eric Alan Brian Kevin Jason Roger Steve "
    "Bruce Carl Dean Fred Gary Ian Joel Kurt Neil Omar Pete Ralph Todd".split()
)
NAMES = GIRLS + BOYS

ROLES = tuple(
    "teacher doctor farmer baker nurse pilot driver singer painter king queen lawyer judge sailor soldier "
    "cook gardener writer student captain".split()
)

# What can be handed over; the article goes with the word.
GIFTS = tuple(
    "a drink|a book|a ball|a ring|a letter|a cake|a flower|a kiss|a present|a key|a basket|a cup of tea|a map|"
    "a pen|a coat|a hat|a bone|a computer|a necklace|an apple|an orange|an umbrella|a snack|a picture|a lamp|"
    "a camera|a ticket|some money|some bread|some milk|the box|the phone|the keys|the bag".split("|")
)
PLACES = tuple(
    "store|park|school|garden|office|station|restaurant|house|hospital|beach|museum|market|library|zoo|farm|"
    "castle|forest|lake|river|church|bakery|theater|hotel|village|kitchen".split("|")
)
ANIMALS = tuple(
    "dog cat horse cow bird fish mouse rabbit fox bear duck sheep goat pig frog lion tiger wolf hen owl".split()
)
OBJECTS = tuple(
    "ball book box kite boat doll drum bell lamp chair table clock hat cup spoon stone stick shell coin ring "
    "rope bag flower apple cake letter picture map key pen".split()
)
COLOURS = tuple("red blue green yellow white black brown pink grey golden".split())
SIZES = tuple("big small little old new tiny huge heavy long round".split())
WEATHER = tuple("sunny rainy windy cold warm cloudy snowy foggy".split())
TIMES = tuple(
    "One morning|One day|One evening|Last week|Yesterday|Today|In the summer|In the winter|After lunch|"
    "Before dinner|On the weekend|Late at night".split("|")
)

HAPPY = tuple(
    "happy glad good great wonderful lovely nice beautiful fun excellent amazing brilliant perfect sweet "
    "delightful joyful".split()
)
SAD = tuple(
    "sad bad awful terrible horrible ugly boring poor dreadful nasty hateful miserable dull angry stupid "
    "painful".split()
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
MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)
NUMBERS = tuple(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty".split()
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
