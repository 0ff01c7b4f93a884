"""What is said for what is written."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loquor.text.characters import plain
from loquor.text.english import EnglishNormalizer
from loquor.text.normalize import MARKS, Normalizer, normalize
from loquor.text.numbers import cardinal, digits, number, ordinal, roman, year
from loquor.text.phrases import Chunk, Phrases

FRAGMENTS = st.sampled_from(
    [
        *("War", "Chapter", "V", "Henry", "VIII", "a.m.", "$5 million", "Jan", "No. 5", "I.I"),
        *("$5", "million", "No.", "Dr. No", "21 Nov", "5 - ", "10 =", "(555)", "123-4567", "+1 555", "10 in.", "a $5"),
        *("Mr", "Dr.", "St.", "J.", "U.S.", "e.g.", "etc.", "5", "$5.50", "1/2", "½", "km", "%", "7:30", "pm", "March"),
        *("3rd", "1999", "1990s", "'", "'em", '"', "(", ")", "[", "-", "--", "—", "–", "...", ".", ",", "!", "?", ":"),
        *(";", " ", "  ", "\n", "😀", "é", "a", "A", "I", "II", "x", "&", "@", "#", "+", "/", "\\", "_", "*", "°", "~"),
        *("bob@mail.com", "https://a.b/c?d", "node.js", "GPT-4", "007", "12345678901", "1,234.5", "3/14/2025", "word"),
        *(
            "555-1234",
            "WORD",
            "don't",
            "o'clock",
            "s",
            "th",
            "\u0301",
            "\u200b",
            "你好",
            "\x00",
            "²",
            "№",
            "vs",
            "<",
            ">",
        ),
    ]
)
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=12).map("".join), st.text(max_size=30))


@settings(max_examples=500)
@given(TEXTS)
def test_what_is_normal_stays_as_it_is(text):
    assert normalize(normalize(text)) == normalize(text)


@settings(max_examples=300)
@given(TEXTS)
def test_only_words_and_marks_after_words_are_left(text):
    before = "."
    for piece in normalize(text).split():
        assert piece in MARKS or re.fullmatch("'?[A-Za-z]+(?:'[A-Za-z]+)*", piece)
        assert piece not in MARKS or before not in MARKS
        before = piece


@given(TEXTS, TEXTS)
def test_what_a_chunk_says_does_not_depend_on_what_follows_unless_it_waits_for_it(text, more):
    phrases = Phrases()
    for chunk in text.split():
        phrases.push(Chunk(chunk, 0, 0))
    assume(not phrases.end())
    pieces = normalize(text).split()
    assert normalize(f"{text} {more}").split()[: len(pieces)] == pieces


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$5.50, $1, £2.01", "five dollars and fifty cents , one dollar , two pounds and one penny"),
        ("$1,000 is $1000", "one thousand dollars is one thousand dollars"),
        ("$2.5M, $0.99 or 5€", "two point five million dollars , ninety nine cents or five euros"),
        ("$5 million, €2.5 billion", "five million dollars , two point five billion euros"),
        ("$5M, £3 bn, $1.2tn and $5 k", "five million dollars , three billion pounds , one point two trillion dollars "
         "and five thousand dollars"),
        ("$1-2 million, a $5-million deal", "one to two million dollars , a five million dollar deal"),
        ("-$5 million-plus, $5 or $6", "minus five million dollars plus , five dollars or six dollars"),
        ("No. 5 is no. 6. No. Never. No.", "number five is number six . No . Never . No ."),
        ("pp. 3-5, No.7, $5 millions", "pages three to five , number seven , five dollars millions"),
        ("Dr. Li of Elm Dr. met Dr. van Dam.", "doctor Li of Elm drive met doctor van Dam ."),
        ("Then Dr. No saw a Dr. on Smith Dr.", "Then doctor No saw a doctor on Smith drive"),
        ("50% of 10 %", "fifty percent of ten percent"),
        ("7:30, 7:05pm and 7:00 PM", "seven thirty , seven oh five p m and seven p m"),
        ("at 5 am, 6pm or 10:30:15", "at five ay m , six p m or ten thirty and fifteen seconds"),
        ("3/14/2025 2025-03-14", "March fourteenth , twenty twenty five March fourteenth , twenty twenty five"),
        ("March 3rd, March 3, 1905", "March third , March third , nineteen oh five"),
        ("13/45/2020", "thirteen forty five twenty twenty"),
        ("555-123-4567", "five five five , one two three , four five six seven"),
        ("the 1990s and '80s", "the nineteen nineties and eighties"),
        ("1st 22nd 103rd 12th", "first twenty second one hundred third twelfth"),
        ("1/2 cup, 2 1/2 cups, 3/4, 24/7", "one half cup , two and one half cups , three quarters , twenty four seven"),
        ("5-10 people, $5-$10", "five to ten people , five dollars to ten dollars"),
        ("5km at 60 mph, 1 kg, 5 in a row", "five kilometers at sixty miles per hour , one kilogram , five in a row"),
        ("-5°C and 20 °F", "minus five degrees celsius and twenty degrees fahrenheit"),
        ("Dr. Smith of Main St. in St. Louis", "doctor Smith of Main street in saint Louis"),
        ("Mr. and Mrs. Li vs. us, e.g. you", "mister and missus Li versus us , for example you"),
        ("George R. R. Martin. J. K. Rowling.", "George R R Martin . J K Rowling ."),
        ("the U.S.A. at 7 a.m., ok", "the u s ay at seven ay m , ok"),
        ("the plan B. So do I.", "the plan B . So do I ."),
        ("World War II", "World War two"),
        ("R&D, C++, GPT-4 and B2B", "R and D , C plus plus , GPT four and B two B"),
        ("https://www.example.com/a/b?x=1.", "example dot com slash ay slash b ."),
        ("bob.smith@mail.com!", "bob dot smith at mail dot com !"),
        ("“Smart” ‘quotes’ — dash… wait--what?!", "Smart quotes - dash … wait - what ?"),
        ("café naïve Straße №5", "cafe naive Strasse number five"),
        ("dogs' 'tis get 'em o’clock", "dogs 'tis get 'em o'clock"),
        ("😀 hello 👨‍👩‍👧 world", "hello world"),
        ("He (my brother) left...really", "He , my brother , left … really"),
        ("end.Next word,word **bold** and/or", "end . Next word , word bold and or"),
        ("US$5, -$5, 50¢, $5/month", "five dollars , minus five dollars , fifty cents , five dollars per month"),
        ("5 USD, 100k, 5M and 4K", "five dollars , one hundred thousand , five million and four K"),
        ("2024/05/12, 12.05.2024, 05-12-2024", "May twelfth , twenty twenty four , May twelfth , twenty twenty four , "
         "May twelfth , twenty twenty four"),
        ("mid-1990s, Mon-Fri, Tues.", "mid nineteen nineties , Monday to Friday , Tuesday"),
        ("in 1h30m or 2h5min", "in one hour thirty minutes or two hours five minutes"),
        ("9/11, 1/100, 16:9, 192.168.0.1", "nine eleven , one one hundredth , sixteen to nine , one hundred ninety two "
         "dot one hundred sixty eight dot zero dot one"),
        ("Boeing 747-400", "Boeing seven hundred forty seven four hundred"),
        ("3-2, 1990-95", "three to two , nineteen ninety to ninety five"),
        ("10 m/s, 5 µg, 1 μs, 10 kΩ", "ten meters per second , five micrograms , one microsecond , ten kilohms"),
        ("6'2\" tall at 40°N", "six foot two tall at forty degrees north"),
        ("10^6 and 1.5e-3 ±5", "ten to the power of six and one point five times ten to the power of minus three "
         "plus or minus five"),
        ("w/ milk, w/o sugar, §5", "with milk , without sugar , section five"),
        ("World War I. Chapter V, Part I", "World War one . Chapter five , Part one"),
        ("Henry VIII and Elizabeth II, I V", "Henry the eighth and Elizabeth the second , I V"),
        ("#1 ~5 x² v3.11.7", "number one about five x squared v three point one one point seven"),
        ("007 1,234,567.89 12345678901", "zero zero seven one million two hundred thirty four thousand five hundred "
         "sixty seven point eight nine one two three four five six seven eight nine zero one"),
    ],
)  # fmt: skip
def test_what_is_written_is_said(written, said):
    assert normalize(written) == said


WHOLE_TEXTS = [
    ("The deal was worth $5 million.", "The deal was worth five million dollars."),
    ("$3.2 billion, $1-2 million", "three point two billion dollars, one to two million dollars"),
    ("a $5-million deal, 3 million EUR", "a five million dollar deal, three million euros"),
    ("born on 5 March 1990", "born on the fifth of March nineteen ninety"),
    ("the 4th of July, 1st Sept. 2019", "the fourth of July, the first of September twenty nineteen"),
    ("Jan. 5, Mar 3rd, Dec 2020", "January fifth, March third, December twenty twenty"),
    ("March 3-5", "March third to fifth"),
    ("2024-05-12T14:30:00Z", "May twelfth, twenty twenty four fourteen thirty"),
    ("at 7:30 a.m. or 10.30 pm", "at seven thirty AM or ten thirty PM"),
    ("5:00 p.m. EST", "five PM EST"),
    ("pp. 12-15, Fig. 3, No. 7, vol. 2", "pages twelve to fifteen, figure three, number seven, volume two"),
    ("The no. of items. No. Never.", "The no. of items. No. Never."),
    ("6 ft 2 in tall, 10 in. wide, 1 in.", "six feet two inches tall, ten inches wide, one inch."),
    ("5 oz. of gold, 120 sq. ft.", "five ounces of gold, one hundred twenty square feet."),
    ("1 000 000 and 12\u00a0000", "one million and twelve thousand"),
    ("+1 (555) 123-4567", "one, five five five, one two three, four five six seven"),
    ("+44 20 7946 0958", "four four, two zero, seven nine four six, zero nine five eight"),
    ("Call 911, dial 112", "Call nine one one, dial one one two"),
    ("p < 0.05, 5 >= 3, I <3 you", "p less than zero point zero five, five at least three, I love you"),
    ("12 Elm Dr. and Dr. Elm", "twelve Elm Drive and doctor Elm"),
    ("I live in the U.S.A.", "I live in the USA."),
    ("the U.K. and a Ph.D.", "the UK and a PHD."),
    ("R&D, NASA, MP3s, PhDs", "R and D, NASA, MP threes, PhDs"),
    ("tea, milk, etc.", "tea, milk, et cetera."),
    ('"Hello," she said. (Quietly!)', "Hello, she said. Quietly!"),
    ("wait... what - now?!", "wait… what - now?"),
    ("J. R. R. Tolkien, plan B.", "J R R Tolkien, plan B."),
]


@pytest.mark.parametrize(("written", "said"), WHOLE_TEXTS)
def test_a_whole_text_is_read_with_a_look_ahead(written, said):
    assert EnglishNormalizer()(written) == said


@settings(max_examples=500)
@given(TEXTS)
def test_a_whole_text_that_is_normal_stays_as_it_is(text):
    normalize_text = EnglishNormalizer()
    assert normalize_text(normalize_text(text)) == normalize_text(text)


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (100, "one hundred"),
        (1_000_001, "one million one"),
        (999_999, "nine hundred ninety nine thousand nine hundred ninety nine"),
        (
            10**15 - 1,
            " ".join(
                f"nine hundred ninety nine {s}".strip() for s in ("trillion", "billion", "million", "thousand", "")
            ),
        ),
    ],
)
def test_cardinals(n, said):
    assert cardinal(n) == said


def test_roman_numerals_are_no_words_sizes_or_letters():
    assert [roman(n) for n in ("II", "IV", "XVII", "XXIV", "XLII", "LVIII", "LXXXIX")] == [2, 4, 17, 24, 42, 58, 89]
    assert not any(map(roman, ["", "I", "V", "X", "XL", "LI", "XXL", "IIII", "VX", "MIX", "DC", "CIVIL", "ii"]))


def test_years_ordinals_and_digits():
    assert [year(n) for n in (1100, 1905, 2000, 2005, 2010)] == [
        *("eleven hundred", "nineteen oh five", "two thousand", "two thousand five", "twenty ten")
    ]
    assert [ordinal(n) for n in (1, 5, 12, 20, 100)] == ["first", "fifth", "twelfth", "twentieth", "one hundredth"]
    assert digits("4-07") == "four zero seven"
    assert [number(n) for n in ("-5", ".5", "3.14", "1500", "1,500")] == [
        *("minus five", "point five", "three point one four", "fifteen hundred", "one thousand five hundred")
    ]


@pytest.mark.parametrize(
    "run", ["7", "7,", ".", "!a", "a.", "-", "a'", "(", "1/", "@a.", "a@", "/", "$", "7,777", "7 ", "777 ", "Abc "]
)
def test_a_very_long_chunk_is_read_in_reasonable_time(run):
    normalize(run * 5000)  # patterns that go back over the chunk would take minutes
    EnglishNormalizer()(run * 2000)


def test_characters_become_plain_ones():
    assert plain("ﬁne İstanbul ½ … 5–6 x―y Ａ１") == "fine Istanbul  1/2 ... 5-6 x - y A1"


def test_a_mark_follows_a_word():
    normalizer = Normalizer()
    assert normalizer.read("...") == []
    assert normalizer.read("yes.") == ["yes", "."]
    assert normalizer.read("?") == []
