"""Numbers: text to double, the exact sum, the average, and back to text.

Oracles: Python's float() (correctly rounded), fractions.Fraction (exact), repr() (shortest).
Each number is sent and then taken back by its negation, so that the sum shows it alone.
"""

import random
import struct
import sys
from fractions import Fraction

from harness import expect
from wire import Client, event, get

MAX = sys.float_info.max

TEXTS = """
0 0.0 0e0 0e999999 0.000e-999999 1 1.0 10 123456789 0.1 0.2 0.3 1.5 2.5 42.5 499.5
1e0 1e1 1E1 1e+1 1e-1 1e01 1e0001 1E+05 1E-05 1e5 1.0e5 12345e-2 0.00012345e7
0.5 0.25 0.125 1e15 1e16 1e17 123456789012345678 9999999999999998 9999999999999999 99999999999999999
1e21 1e22 1e23 1e24 9007199254740991 9007199254740992 9007199254740993 9007199254740994
9007199254740995 18014398509481985 4503599627370496.5 4503599627370497.5
0.0001 0.00001 0.00012 1e-5 1.5e-5 9.999999999999999e-5 1e-10 1.7976931348623157e308
1.7976931348623158e308 1.79769313486231570e+308 17976931348623157e292 8.98846567431158e307
2.2250738585072014e-308 2.2250738585072011e-308 2.2250738585072012e-308 2.225073858507201e-308
5e-324 4.9e-324 4.9406564584124654e-324 2.4703282292062327e-324 2.4703282292062328e-324
2.47032822920623272e-324 2.4703282292062327208299e-324 7.4e-324 1e-323 1e-400 1e-99999999999
3e-324 2e-324 1.5e-323 4.4501477170144023e-308 1.1125369292536007e-308
9.5367431640625e-7 1.1754943508222875e-38 3.4028234663852886e38 6.02214076e23 6.62607015e-34
3.141592653589793 2.718281828459045 1.4142135623730951 0.3333333333333333 0.6666666666666666
7.2057594037927933e16 1.0000000000000002 1.00000000000000011102230246251565404236316680908203125
1.00000000000000011102230246251565404236316680908203124
1.00000000000000011102230246251565404236316680908203126
1.00000000000000033306690738754696212708950042724609375
0.500000000000000166533453693773481063544750213623046875
1448997445238699 8.5e15 8.10109172351e-10 9.2e18 9223372036854775807 9223372036854775808
18446744073709551615 18446744073709551616 340282366920938463463374607431768211456
1.2345678901234567890123456789012345678901234567890 6.4e-323 1e308 1.5e300 1e-300
""".split()

# More digits than fit into anything: halfway points and their neighbours, to the last digit.
LONG = [
    "1" + "0" * 300, "0." + "0" * 300 + "1", "1" + "0" * 300 + "." + "0" * 300 + "1",
    "9007199254740993" + "." + "0" * 800 + "1", "9007199254740993" + "." + "0" * 800,
    "9007199254740992." + "9" * 900, "1." + "0" * 1000 + "1e0", "0" + "." + "9" * 1000,
    "1" + "0" * 400 + "e-400", "0." + "0" * 400 + "1e401", "123456789" * 80 + "e-700",
    "3" * 40000 + "e-39999", str(2 ** 1024 - 2 ** 970 - 1), str(2 ** 1024 - 2 ** 970 - 1) + ".9",
]


def halfway_points():
    """Exact decimal text of points halfway between two doubles, just below and just above."""
    rng = random.Random(2)
    for exponent in (-1074, -1060, -1022, -500, -60, 0, 1, 53, 200, 900):
        mantissa = rng.getrandbits(52) | (1 << 52) if exponent > -1074 else rng.getrandbits(20)
        exact = (Fraction(2 * mantissa + 1) / 2) * Fraction(2) ** (exponent)
        # A fraction whose denominator is 2^k has k decimals, exactly.
        k = exact.denominator.bit_length() - 1
        digits = exact.numerator * 5 ** k
        yield f"{digits}e-{k}"
        yield f"{digits}0001e-{k + 4}"
        yield f"{digits - 1}9999e-{k + 4}"


def random_doubles(rng, count):
    """Of all finite doubles, each as likely as any."""
    for _ in range(count):
        while True:
            value = struct.unpack("<d", rng.randbytes(8))[0]
            if abs(value) <= MAX:
                yield value
                break


def post(text):
    return event(b'{"userId":"n","value":%s}' % text.encode())


def sum_text(value):
    return repr(value + 0.0)


def read_sum(answer):
    return answer.body.decode().split('"sum":')[1].split(",")[0]


def negated(text):
    return text[1:] if text.startswith("-") else "-" + text


def check_number(suite, text):
    """Both signs: the sum is the double, then 0.0 again."""
    machine = suite.shared()
    value = float(text)
    expect(machine.model.sum, 0, "the sum before")
    with Client(machine) as client:
        for first, sign in ((text, 1), (negated(text), -1)):
            client.send(post(first) + get("/stats") + post(negated(first)) + get("/stats"))
            expect(client.response().status, 200, first[:40])
            machine.model.add("n", sign * value)
            seen = client.response()
            expect(read_sum(seen), sum_text(sign * value), f"sum after {first[:40]}")
            expect(seen.body.decode(), machine.model.text())
            expect(client.response().status, 200)
            machine.model.add("n", -sign * value)
            expect(client.response().body.decode(), machine.model.text())


def pipeline_values(machine, values):
    """Sends them all; every answer is 200. /stats at the end is what the model says."""
    with Client(machine, timeout=30) as client:
        for at in range(0, len(values), 100):
            part = values[at:at + 100]
            client.send(b"".join(post(repr(value)) for value in part))
            for value in part:
                expect(client.response().status, 200, repr(value))
                machine.model.add("n", value)
        expect(client.ask(get("/stats")).body.decode(), machine.model.text())


def check_values_cancel(suite, values):
    """The sum in order, then taken back in another order: 0.0 to the last bit."""
    machine = suite.shared()
    expect(machine.model.sum, 0, "the sum before")
    pipeline_values(machine, values)
    back = [-value for value in values]
    random.Random(3).shuffle(back)
    pipeline_values(machine, back)
    expect(machine.model.sum, 0, "the sum afterwards")


def check_any_order(suite, values):
    """Two orders of the same values have the same sum (each on top of an exact zero)."""
    machine = suite.shared()
    texts = []
    for order in (sorted(values), random.Random(4).sample(values, len(values))):
        pipeline_values(machine, order)
        with Client(machine) as client:
            texts.append(read_sum(client.ask(get("/stats"))))
        pipeline_values(machine, [-value for value in order])
    expect(texts[0], texts[1])


def clear(suite):
    """Brings the sum of the shared machine to exactly zero."""
    machine = suite.shared()
    while machine.model.sum != 0:
        part = float(max(min(machine.model.sum, Fraction(MAX)), -Fraction(MAX)))
        pipeline_values(machine, [-part])


def run(suite):
    clear(suite)
    suite.each([(text if len(text) < 40 else f"{text[:24]}... of {len(text)} digits", suite, text)
                for text in TEXTS + LONG + list(halfway_points())], check_number)
    rng = random.Random(1)
    suite.each([(f"random {value!r}", suite, repr(value)) for value in random_doubles(rng, 100)],
               check_number)
    anything = list(random_doubles(rng, 1500))
    small = [rng.getrandbits(40) * 5e-324 for _ in range(500)]
    cancelling = [1e308, 1.0, -1e308, 1e-300, 1e16, 1.0, -1e16, 5e-324, 0.1, 0.2, -0.3]
    suite.each([
        ("random doubles sum exactly", suite, anything),
        ("subnormals sum exactly", suite, small),
        ("cancellation", suite, cancelling),
        ("0.1 a thousand times", suite, [0.1] * 1000),
        ("sums beyond the largest double", suite, [1e308] * 30 + [MAX] * 10),
        ("and below the least", suite, [-MAX] * 25),
        ("minus zero", suite, [-0.0, -0.0, 0.0]),
        ("a tie that only the last bit breaks", suite, [9007199254740992.0, 1.0, 5e-324]),
        ("a tie to even", suite, [9007199254740992.0, 1.0]),
        ("a tie to even, upwards", suite, [9007199254740994.0, 1.0]),
    ], check_values_cancel)
    suite.each([("order does not matter", suite, anything[:600]),
                ("order does not matter, halves", suite, [i % 1000 + 0.5 for i in range(3000)])],
               check_any_order)
