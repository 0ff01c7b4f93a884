"""How a written thing that is not a plain word is read aloud: money, times, dates, telephone numbers, addresses.

`READINGS` is a list of patterns with what each says; the first that fits the whole of a chunk wins. What they return is
words and marks separated by spaces.
"""

import re
from collections.abc import Callable
from re import Match

from loquor.text.numbers import cardinal, digits, number, ordinal, whole, year

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
# fmt: off
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)
CURRENCIES = {  # one, many, one hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "₹": ("rupee", "rupees", "paisa", "paise"),
    "¥": ("yen", "yen", "", ""), "¢": ("cent", "cents", "", ""),
}
SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "t": "trillion",
    "tn": "trillion",
}
SCALES_ALONE = {"k": "thousand", "mn": "million", "M": "million", "bn": "billion"}  # 4K and 3B are no thousands
UNITS = {  # one, many
    "mm": ("millimeter", "millimeters"), "cm": ("centimeter", "centimeters"), "m": ("meter", "meters"),
    "km": ("kilometer", "kilometers"), "in": ("inch", "inches"), "ft": ("foot", "feet"), "yd": ("yard", "yards"),
    "mi": ("mile", "miles"), "mg": ("milligram", "milligrams"), "g": ("gram", "grams"), "kg": ("kilogram", "kilograms"),
    "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"), "l": ("liter", "liters"),
    "L": ("liter", "liters"), "ml": ("milliliter", "milliliters"), "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"), "sec": ("second", "seconds"), "min": ("minute", "minutes"), "h": ("hour", "hours"),
    "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"), "km/h": ("kilometer per hour", "kilometers per hour"),
    "fps": ("frame per second", "frames per second"), "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "KB": ("kilobyte", "kilobytes"),
    "kB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"), "W": ("watt", "watts"), "kW": ("kilowatt", "kilowatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"), "V": ("volt", "volts"), "%": ("percent", "percent"),
    "°": ("degree", "degrees"), "°C": ("degree celsius", "degrees celsius"), "x": ("times", "times"),
    "°F": ("degree fahrenheit", "degrees fahrenheit"), "microm": ("micrometer", "micrometers"),
    "micros": ("microsecond", "microseconds"), "microg": ("microgram", "micrograms"), "ohm": ("ohm", "ohms"),
    "kohm": ("kilohm", "kilohms"), "m/s": ("meter per second", "meters per second"), "hp": ("horsepower", "horsepower"),
    "MB/s": ("megabyte per second", "megabytes per second"), "GB/s": ("gigabyte per second", "gigabytes per second"),
    "kbps": ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"), "mpg": ("mile per gallon", "miles per gallon"),
    "kcal": ("kilocalorie", "kilocalories"), "cc": ("c c", "c c"), "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"), "gal": ("gallon", "gallons"), "dB": ("decibel", "decibels"),
    "mW": ("milliwatt", "milliwatts"), "MW": ("megawatt", "megawatts"), "mAh": ("milliamp hour", "milliamp hours"),
    "USD": ("dollar", "dollars"), "EUR": ("euro", "euros"), "GBP": ("pound", "pounds"), "JPY": ("yen", "yen"),
}
SIGNS = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "°": "degrees", "×": "times",
    "÷": "divided by", "€": "euros", "£": "pounds", "$": "dollars", "¥": "yen", "₹": "rupees",
}
PER = {
    **{word: word for word in ("second", "minute", "hour", "day", "week", "month", "year", "night", "person", "unit")},
    "s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "wk": "week", "mo": "month",
    "yr": "year", "kg": "kilogram", "lb": "pound", "km": "kilometer", "mi": "mile", "l": "liter", "L": "liter",
}
WEEKDAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday",
    "Sun": "Sunday",
}
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
# fmt: on
DENOMINATORS = frozenset([*range(2, 11), 12, 16, 20, 100, 1000])  # "9/11" is no fraction
NAMED = "ª"  # before letters that are said by their names; no text has it behind `plain`


def spelled(letters: str) -> str:
    """ "U.S.A" as a word to be read letter by letter."""
    return NAMED + "".join(letter for letter in letters.lower() if letter.isalpha())


def measured(amount: str, unit: str) -> str:
    """A unit's name for so many."""
    return UNITS[unit][amount != "1"]


def money(match: Match[str]) -> str:
    """ "$5.50" is "five dollars and fifty cents", "$2.5M" is "two point five million dollars"."""
    if match["minus"]:
        return f"minus {reading(match[0].replace('-', ''))}"
    sign, amount, scale = match["sign"] or match["sign_after"], match["amount"], match["scale"]
    one, many, cent, cents = CURRENCIES[sign]
    if scale:
        return f"{number(amount)} {SCALES[scale.lower()]} {many}"
    before, _, after = amount.partition(".")
    if len(after) != 2 or not cent:
        return f"{number(amount)} {one if amount == '1' else many}"
    parts = []
    if before.strip("0,"):
        parts.append(f"{whole(before)} {one if before == '1' else many}")
    if after != "00" or not parts:
        parts.append(f"{cardinal(int(after))} {cent if after == '01' else cents}")
    return " and ".join(parts)


def time(match: Match[str]) -> str:
    """ "7:05pm" is "seven oh five p m", "7:00" is "seven o'clock"."""
    hour, minute, second = int(match["hour"]), match["minute"] or "00", match["second"]
    half = spelled(match["half"]) if match["half"] else ""
    words = [cardinal(hour)]
    if minute != "00":
        words.append(f"oh {cardinal(int(minute))}" if minute[0] == "0" else cardinal(int(minute)))
    elif not half:
        words.append("o'clock" if 1 <= hour <= 12 else "hundred")
    if second:
        words.append(f"and {cardinal(int(second))} seconds")
    return " ".join([*words, half])


def date(match: Match[str]) -> str:
    """ "3/14/2025" and "2025-03-14" are "March fourteenth , twenty twenty five"."""
    month, day, written_year = int(match["month"]), int(match["day"]), match["year"]
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return pieces(match)
    spoken_year = year(int(written_year)) if len(written_year) == 4 else number(written_year)
    return f"{MONTHS[month - 1]} {ordinal(day)} , {spoken_year}"


def fraction(match: Match[str]) -> str:
    """ "3/4" is "three quarters"; "24/7" is "twenty four seven"."""
    above, below = int(match["above"]), int(match["below"])
    if not 0 < above < below or below not in DENOMINATORS:
        return f"{number(match['above'])} {number(match['below'])}"
    name = {2: "half", 4: "quarter"}.get(below) or ordinal(below)
    return f"{cardinal(above)} {name if above == 1 else name + 's'}"


def several(written: str) -> str:
    """ "1990" is "nineteen nineties", "5" is "fives"."""
    words = number(written)
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def web_address(match: Match[str]) -> str:
    """The name and path of an address, with "dot", "slash" and "at"; the query is left out."""
    address = re.sub(r"^(https?://)?(www\.)?|[?#].*$", "", match[0]).rstrip("/")
    letter_a = spelled("a")
    names = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", "a": letter_a, "A": letter_a}
    return " ".join(names.get(part) or pieces(part) for part in re.split(r"([./@_-])", address) if part)


def pieces(match: Match[str] | str) -> str:
    """Anything else: runs of letters, numbers and signs one after the other ("GPT-4", "R&D", "node.js")."""
    text = match if isinstance(match, str) else match[0]
    said = []
    pattern = (
        r"(?P<word>[A-Za-z]+(?:'[A-Za-z]+)*)|(?P<plural>\d+s(?![A-Za-z]))"
        rf"|\^(?P<power>-?\d+)|(?P<number>{NUMBER})|(?P<dot>(?<=\w)\.(?=[A-Za-z]{{2}}|\d))|(?P<sign>.)"
    )
    for part in re.finditer(pattern, text):
        word = part["word"]
        if word:
            is_code = len(word) in {2, 3} and word.isupper() and text[part.end() : part.end() + 1].isdigit()  # CO2
            is_spelled = is_code or (word in "Aa" and word != text)
            said.append(spelled(word) if is_spelled else word)
        elif part["power"]:
            said.append(power(part["power"]))
        elif part["plural"]:
            said.append(several(part["plural"][:-1]))
        elif part["number"]:
            said.append(number(part["number"]))
        else:
            said.append("dot" if part["dot"] else SIGNS.get(part[0], ""))
    return " ".join(said)


def power(exponent: str) -> str:
    """ "2" is "squared", "-5" is "to the power of minus five"."""
    return {"2": "squared", "3": "cubed"}.get(exponent) or f"to the power of {number(exponent)}"


def initials(match: Match[str]) -> str:
    """ "AT&T" and "M&Ms": letters by their names."""
    said = [letters if len(letters) == 1 and letters != "A" else spelled(letters) for letters in match.group("a", "b")]
    return f"{said[0]} and {said[1]}" + ("'s" if match["s"] else "")


def grouped(match: Match[str]) -> str:
    """Digits one by one, a short pause between groups."""
    return " , ".join(digits(group) for group in re.split(r"\D+", match[0]) if group)


def with_unit(match: Match[str]) -> str:
    """ "5km" is "five kilometers"; a letter that is no unit is spoken beside its number."""
    if match["unit"] in UNITS:
        return f"{number(match['a'])} {measured(match['a'], match['unit'])}"
    if match["unit"] in SCALES_ALONE:
        return f"{number(match['a'])} {SCALES_ALONE[match['unit']]}"
    return pieces(match)


def span(match: Match[str]) -> str:
    """ "5-10" is "five to ten"; a Boeing "747-400" is two numbers."""
    first, last = match["a"], match["b"]
    is_range = not (first.isdigit() and last.isdigit() and 99 < int(last[:9]) <= int(first[:9]))
    return f"{reading(first)} {'to ' if is_range else ''}{reading(last)}"


def hours_and_minutes(match: Match[str]) -> str:
    """ "1h30m" is "one hour thirty minutes"."""
    hours, minutes = match["a"], match["b"]
    return f"{number(hours)} {measured(hours, 'h')} {number(minutes)} {measured(minutes, 'min')}"


Reading = tuple[re.Pattern[str], Callable[[Match[str]], str]]
RANGE_END = r"[$€£¥₹]?\d[\w:.,%°]*"
HALF = r"(?P<half>[AaPp]\.?[Mm]\.?)"
READINGS: list[Reading] = [
    (re.compile(pattern), say)
    for pattern, say in (
        (r"(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+", web_address),
        (r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|eu|info)(?:/\S*)?", web_address),
        (rf"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?{HALF}?", time),
        (rf"(?P<hour>[1-9]|1[0-2])(?P<minute>)(?P<second>){HALF}", time),
        (r"(?P<a>\d{1,3}):(?P<b>\d{1,3})", lambda m: f"{number(m['a'])} to {number(m['b'])}"),
        (r"(?P<year>[12]\d{3})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)", date),
        (r"(?P<month>\d\d?)(?P<mark>[-/])(?P<day>\d\d?)(?P=mark)(?P<year>[12]\d{3})", date),
        (r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d\d)", date),
        (r"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>[12]\d{3})", date),
        (r"(?:\+?\d{1,3}[-.])?(?:\(\d{3}\)|\d{3}[-.])\d{3}[-.]\d{4}|\d{3}-\d{4}|\+\d{7,15}", grouped),
        (
            rf"(?P<minus>-?)(?:US)?(?P<sign>[$€£¥₹¢])(?P<amount>{NUMBER})"
            r"(?P<scale>[kKmMbBtT]|[bmt]n)?(?P<sign_after>)",
            money,
        ),
        (rf"(?P<minus>-?)(?P<sign>)(?P<amount>{NUMBER})(?P<scale>)(?P<sign_after>[$€£¥₹¢])", money),
        (rf"(?P<a>[$€£¥₹]?{NUMBER}[A-Za-z]*)/(?P<b>{'|'.join(PER)})", lambda m: f"{reading(m['a'])} per {PER[m['b']]}"),
        (r"(?P<n>\d{1,9}|\d{1,3}(?:,\d{3}){1,3})(?:st|nd|rd|th)", lambda m: ordinal(int(m["n"].replace(",", "")))),
        (r"'?(?P<number>\d+)'?s", lambda m: several(m["number"])),
        (r"(?P<a>\d{1,2})h(?P<b>\d{1,2})(?:m|min)?", hours_and_minutes),
        (r"(?P<a>\d)'(?P<b>\d\d?)", lambda m: f"{number(m['a'])} foot {number(m['b'])}"),
        (rf"(?P<a>{NUMBER})°(?P<b>[NSEW])", lambda m: f"{reading(m['a'] + '°')} {COMPASS[m['b']]}"),
        (
            rf"(?P<a>{NUMBER})[eE](?P<b>[-+]?\d+)",
            lambda m: f"{number(m['a'])} times ten to the power of {number(m['b'].lstrip('+'))}",
        ),
        (rf"(?P<a>[-+]?{NUMBER})(?P<unit>[A-Za-z%°/]+)", with_unit),
        (r"(?P<above>\d{1,3})/(?P<below>\d{1,3})", fraction),
        (
            rf"(?P<a>[$€£¥₹]{NUMBER})-(?P<b>{NUMBER})",
            lambda m: f"{number(m['a'][1:])} to {reading(m['a'][0] + m['b'])}",
        ),
        (rf"(?P<a>{RANGE_END})-(?P<b>{RANGE_END})", span),
        (
            rf"(?P<a>{'|'.join(WEEKDAYS)})-(?P<b>{'|'.join(WEEKDAYS)})",
            lambda m: f"{WEEKDAYS[m['a']]} to {WEEKDAYS[m['b']]}",
        ),
        (rf"(?P<a>{NUMBER})[x×](?P<b>{NUMBER})", lambda m: f"{number(m['a'])} by {number(m['b'])}"),
        (r"\d{1,3}(?:\.\d{1,3}){3}", lambda m: " dot ".join(number(part) for part in m[0].split("."))),
        (r"\d+(?:\.\d+){2,}", lambda m: " point ".join(number(part) for part in m[0].split("."))),
        (rf"~(?P<a>{NUMBER})", lambda m: f"about {number(m['a'])}"),
        (r"#(?P<a>\d+)", lambda m: f"number {number(m['a'])}"),
        (r"#(?P<a>[A-Za-z]\w+)", lambda m: f"hashtag {pieces(m['a'])}"),
        (r"(?P<a>[A-G])#", lambda m: f"{m['a']} sharp"),
        (r"\.(?P<a>[a-z]{2,4}\d?|[A-Z]{2,4})", lambda m: f"dot {pieces(m['a'])}"),
        (r"(?P<a>[A-Z]{1,3})&(?P<b>[A-Z]{1,3})(?P<s>s?)", initials),
        (r"[wW]/o", lambda _: "without"),
        (r"[wW]/(?P<a>[A-Za-z]*)", lambda m: f"with {m['a']}"),
        (rf"[-+]?{NUMBER}", lambda m: number(m[0])),
    )
]


def reading(core: str) -> str:
    """What to say for a chunk without the marks around it."""
    for pattern, say in READINGS:
        match = pattern.fullmatch(core)
        if match:
            return say(match)
    return pieces(core)
