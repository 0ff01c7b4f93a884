"""Dates of the Solar Hijri and the Gregorian calendar, and times of day, as Iranians read them.

A year says which calendar it belongs to: 1200 to 1599 is Solar Hijri, with the months from فروردین to اسفند; later
years are Gregorian, with the French names of the months.
"""

import re
from re import Match

from loquor.text.persian.characters import WORD_END
from loquor.text.persian.numbers import AND, ZWNJ, cardinal, ordinal

# fmt: off
SOLAR_MONTHS = (
    "فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند",
)
GREGORIAN_MONTHS = (
    "ژانویه", "فوریه", "مارس", "آوریل", "مه", "ژوئن", "ژوئیه", "اوت", "سپتامبر", "اکتبر", "نوامبر", "دسامبر",
)
OTHER_MONTHS = ("جولای", "آگوست", "محرم", "رجب", "شعبان", "رمضان", "شوال")
# fmt: on
SOLAR_LENGTHS = (31,) * 6 + (30,) * 6
GREGORIAN_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FIRST_SHORT_YEAR = 40  # of two digits: 40 to 99 are 13xx, less are 14xx

START, END = r"(?<![\d/.:-])", r"(?![/:-]?\d|\.\d)"  # of a number that belongs to no other
YEAR_FIRST = rf"{START}(?P<year>\d{{4}}|\d\d)(?P<sign>[/.-])(?P<month>\d\d?)(?P=sign)(?P<day>\d\d?){END}(?:T(?=\d\d:))?"
YEAR_LAST = rf"{START}(?P<day>\d\d?)(?P<sign>[/.-])(?P<month>\d\d?)(?P=sign)(?P<year>\d{{4}}){END}"
YEAR_MONTH = rf"{START}(?P<year>1[2-4]\d\d|20\d\d)/(?P<month>0[1-9]|1[0-2]){END}"
MONTH = "|".join(SOLAR_MONTHS + GREGORIAN_MONTHS + OTHER_MONTHS)
DAY_MONTH = rf"{START}(?P<day>\d\d?) +(?P<month>(?:{MONTH})(?:{ZWNJ}?ماه)?|می(?= +\d{{4}})){WORD_END}"
CLOCK = r"(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?"
HALF = rf" ?(?P<half>[AaPp]\.?[Mm]{WORD_END}|[قب]\. ?ظ{WORD_END})\.?"
TIME = rf"(?:ساعت )?{START}(?P<from>{CLOCK})(?: ?(?:-|–|تا|الی) ?(?:ساعت )?(?P<to>{CLOCK}))?{END}(?:{HALF})?"
TIME_WITH_POINT = rf"ساعت (?P<from>(?:[01]?\d|2[0-4])\.[0-5]\d)(?P<to>)(?P<half>){END}"
HOUR = rf"(?:ساعت )?{START}(?P<from>1[0-2]|0?[1-9])(?P<to>){HALF}"


def date(match: Match[str]) -> str:
    """ "1403/05/12" is "دوازدهم مرداد هزار و چهارصد و سه"; what is no day of a calendar stays as it is."""
    written = match["year"]
    named = day_and_month(int(written), int(match["month"]), int(match["day"]))
    if len(written) == 2:
        named = day_and_month(1300, int(match["month"]), int(match["day"]))
        year = cardinal(int(written)) if int(written) >= FIRST_SHORT_YEAR else cardinal(1400 + int(written))
        return f"{named} {year}" if named and match["sign"] == "/" else match[0]
    if not named and match.end("day") < match.start("year"):  # the month before the day, as Americans write
        named = day_and_month(int(written), int(match["day"]), int(match["month"]))
    return f"{named} {cardinal(int(written))}" if named else match[0]


def day_and_month(year: int, month: int, day: int) -> str:
    """ "دوازدهم مرداد", or nothing if the calendar of the year has no such day."""
    is_solar = 1200 <= year < 1600
    names, lengths = (SOLAR_MONTHS, SOLAR_LENGTHS) if is_solar else (GREGORIAN_MONTHS, GREGORIAN_LENGTHS)
    if not (is_solar or 1600 <= year < 2300) or not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        return ""
    return f"{ordinal(day)} {names[month - 1]}"


def month_of_year(match: Match[str]) -> str:
    """ "1403/05" is "مرداد هزار و چهارصد و سه"."""
    year = int(match["year"])
    names = SOLAR_MONTHS if year < 1600 else GREGORIAN_MONTHS
    return f"{names[int(match['month']) - 1]} {cardinal(year)}"


def day_of_month(match: Match[str]) -> str:
    """ "12 مرداد" is "دوازدهم مرداد"."""
    day = int(match["day"])
    return f"{ordinal(day)} {match['month']}" if 1 <= day <= 31 else match[0]


def time(match: Match[str]) -> str:
    """ "14:30" is "ساعت چهارده و سی دقیقه", "8:00-12:00" is "ساعت هشت تا دوازده"."""
    said = f"ساعت {clock(match['from'])}"
    if match["to"]:
        said += f" تا {clock(match['to'])}"
    half = match["half"]
    if half:
        said += " بعد از ظهر" if half[0] in "Ppب" else " قبل از ظهر"
    return said


def clock(written: str) -> str:
    """ "7:05" is "هفت و پنج دقیقه"; a full hour has no minutes."""
    hour, *rest = (int(part) for part in re.split("[:.]", written))
    names = [f"{cardinal(n)} {name}" for n, name in zip(rest, ("دقیقه", "ثانیه"), strict=False) if n]
    return AND.join([cardinal(hour), *names])


DATE_READINGS = (
    (YEAR_FIRST, date),
    (YEAR_LAST, date),
    (YEAR_MONTH, month_of_year),
    (TIME, time),
    (TIME_WITH_POINT, time),
    (HOUR, time),
    (DAY_MONTH, day_of_month),
)
