"""The body of POST /event: what is an event, and what is not (RFC 8259). Members come in any order,
unknown ones are ignored, and of a repeated one the last counts."""

import json

from harness import expect, expect_error
from wire import Client, chunked, event, get


def user(text, value="1"):
    return f'{{"userId":{text},"value":{value}}}'.encode()


# name, body, user, value
ACCEPTED = [
    ("plain", b'{"userId":"a","value":1}', "a", 1),
    ("other order", b'{"value":1,"userId":"a"}', "a", 1),
    ("blanks everywhere", b' \t\r\n{ \t"userId"\n:\r"a" , "value" :\t1.5 }\r\n\t ', "a", 1.5),
    ("unknown members", b'{"x":1,"userId":"a","y":[{"z":null}],"value":1,"w":"v"}', "a", 1),
    ("unknown member of every kind",
     b'{"a":true,"b":false,"c":null,"d":-1.5e3,"e":"","f":{},"g":[],"userId":"k","value":2}',
     "k", 2),
    ("unknown member with the empty name", b'{"":1,"userId":"a","value":1}', "a", 1),
    ("repeated userId: the last", b'{"userId":"first","value":1,"userId":"last"}', "last", 1),
    ("repeated value: the last", b'{"userId":"a","value":1,"value":2}', "a", 2),
    ("repeated value, first not a number", b'{"userId":"a","value":"x","value":2}', "a", 2),
    ("repeated value, first null", b'{"value":null,"userId":"a","value":2}', "a", 2),
    ("repeated userId, first a number", b'{"userId":5,"userId":"a","value":2}', "a", 2),
    ("repeated userId, first empty", b'{"userId":"","userId":"a","value":2}', "a", 2),
    ("names in other case are unknown", b'{"USERID":1,"Value":"x","userId":"a","value":3}', "a", 3),
    ("name escaped", b'{"\\u0075serId":"a","valu\\u0065":4}', "a", 4),
    ("names nested do not count",
     b'{"n":{"userId":"no","value":9},"userId":"a","value":1}', "a", 1),
    ("escapes", user(r'"\"\\\/\b\f\n\r\t"'), '"\\/\b\f\n\r\t', 1),
    ("escape of a letter is the letter", user(r'"\u0061"'), "a", 1),
    ("escape in upper and lower case", user(r'"\u00e9\u00E9"'), "éé", 1),
    ("UTF-8 of two bytes", user('"é"'), "é", 1),
    ("UTF-8 of three bytes", user('"€"'), "€", 1),
    ("UTF-8 of four bytes", user('"😀"'), "😀", 1),
    ("surrogate pair is one character", user(r'"\ud83d\ude00"'), "😀", 1),
    ("surrogate pair in upper case", user(r'"\uD83D\uDE00"'), "😀", 1),
    ("first and last of each length of UTF-8",
     user('"\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"'),
     "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff", 1),
    ("first and last pair", user(r'"\ud800\udc00\udbff\udfff"'), "\U00010000\U0010ffff", 1),
    ("NUL escaped", user(r'"a\u0000b"'), "a\0b", 1),
    ("NUL escaped alone", user(r'"\u0000"'), "\0", 1),
    ("DEL", user('"\x7f"'), "\x7f", 1),
    ("one byte", user('"x"'), "x", 1),
    ("blank", user('" "'), " ", 1),
    ("1024 bytes", user('"' + "b" * 1024 + '"'), "b" * 1024, 1),
    ("1024 bytes decoded of 6144", user('"' + r"\u0063" * 1024 + '"'), "c" * 1024, 1),
    ("1024 bytes of characters of four", user('"' + "😀" * 256 + '"'), "😀" * 256, 1),
    ("composed and decomposed differ", user('"e\u0301"'), "e\u0301", 1),
    ("an object as the user's name", user('"{\\"userId\\":1}"'), '{"userId":1}', 1),
    ("128 deep", b'{"x":' + b"[" * 128 + b"]" * 128 + b',"userId":"a","value":1}', "a", 1),
    ("128 deep of objects",
     b'{"x":' + b'{"y":' * 127 + b"{}" + b"}" * 127 + b',"userId":"a","value":1}', "a", 1),
    ("much that is unknown", b'{"x":[' + b"0," * 20000 + b'0],"userId":"a","value":1}', "a", 1),
    ("long unknown string", b'{"x":"' + b"y" * 60000 + b'","userId":"a","value":1}', "a", 1),
    ("long unknown name", b'{"' + b"y" * 60000 + b'":0,"userId":"a","value":1}', "a", 1),
    ("name that begins like a known one",
     b'{"userIdx":1,"userI":2,"values":3,"userId":"a","value":1}', "a", 1),
]

# name, body
REFUSED = [
    ("empty body", b""),
    ("blanks only", b" \r\n\t "),
    ("array", b"[]"),
    ("array with an event", b'[{"userId":"a","value":1}]'),
    ("number", b"1"),
    ("string", b'"userId"'),
    ("true", b"true"),
    ("null", b"null"),
    ("empty object", b"{}"),
    ("no value", b'{"userId":"a"}'),
    ("no userId", b'{"value":1}'),
    ("userId in other case", b'{"userid":"a","value":1}'),
    ("Value in other case", b'{"userId":"a","Value":1}'),
    ("userId empty", b'{"userId":"","value":1}'),
    ("userId number", b'{"userId":1,"value":1}'),
    ("userId null", b'{"userId":null,"value":1}'),
    ("userId true", b'{"userId":true,"value":1}'),
    ("userId array", b'{"userId":["a"],"value":1}'),
    ("userId object", b'{"userId":{"a":1},"value":1}'),
    ("value string", b'{"userId":"a","value":"1"}'),
    ("value null", b'{"userId":"a","value":null}'),
    ("value false", b'{"userId":"a","value":false}'),
    ("value array", b'{"userId":"a","value":[1]}'),
    ("value object", b'{"userId":"a","value":{}}'),
    ("repeated value, last a string", b'{"userId":"a","value":1,"value":"x"}'),
    ("repeated userId, last null", b'{"userId":"a","value":1,"userId":null}'),
    ("repeated userId, last empty", b'{"userId":"a","value":1,"userId":""}'),
    ("1025 bytes", user('"' + "b" * 1025 + '"')),
    ("1025 bytes decoded", user('"' + r"\u0063" * 1025 + '"')),
    ("1026 bytes of characters of two", user('"' + "é" * 513 + '"')),
    ("much too long", user('"' + "b" * 60000 + '"')),
    # syntax
    ("not closed", b'{"userId":"a","value":1'),
    ("not closed after a comma", b'{"userId":"a","value":1,'),
    ("only opened", b"{"),
    ("ends in a name", b'{"userId'),
    ("ends in a string", b'{"userId":"a'),
    ("ends in an escape", b'{"userId":"a\\'),
    ("ends in \\u", b'{"userId":"a\\u00'),
    ("ends after a colon", b'{"userId":'),
    ("trailing comma", b'{"userId":"a","value":1,}'),
    ("leading comma", b'{,"userId":"a","value":1}'),
    ("two commas", b'{"userId":"a",,"value":1}'),
    ("no comma", b'{"userId":"a" "value":1}'),
    ("no colon", b'{"userId" "a","value":1}'),
    ("two colons", b'{"userId"::"a","value":1}'),
    ("semicolon", b'{"userId":"a";"value":1}'),
    ("single quotes", b"{'userId':'a','value':1}"),
    ("names without quotes", b'{userId:"a",value:1}'),
    ("comment", b'{"userId":"a",/* */"value":1}'),
    ("line comment", b'{"userId":"a","value":1}//'),
    ("number as a name", b'{1:2,"userId":"a","value":1}'),
    ("closed by a bracket", b'{"userId":"a","value":1]'),
    ("array closed by a brace", b'{"x":[1},"userId":"a","value":1}'),
    ("array with trailing comma", b'{"x":[1,],"userId":"a","value":1}'),
    ("array without comma", b'{"x":[1 2],"userId":"a","value":1}'),
    ("object in it not closed", b'{"x":{,"userId":"a","value":1}'),
    ("word misspelt", b'{"x":tru,"userId":"a","value":1}'),
    ("word in upper case", b'{"x":TRUE,"userId":"a","value":1}'),
    ("word too long", b'{"x":nulll,"userId":"a","value":1}'),
    ("NaN", b'{"userId":"a","value":NaN}'),
    ("Infinity", b'{"userId":"a","value":Infinity}'),
    ("minus Infinity", b'{"userId":"a","value":-Infinity}'),
    ("undefined", b'{"userId":"a","value":undefined}'),
    ("something after it", b'{"userId":"a","value":1}x'),
    ("two objects", b'{"userId":"a","value":1}{"userId":"a","value":1}'),
    ("a comma after it", b'{"userId":"a","value":1},'),
    ("a NUL after it", b'{"userId":"a","value":1}\0'),
    ("a byte order mark", b'\xef\xbb\xbf{"userId":"a","value":1}'),
    ("form feed for a blank", b'{\x0c"userId":"a","value":1}'),
    ("no-break space for a blank", '{\u00a0"userId":"a","value":1}'.encode()),
    ("UTF-16", '{"userId":"a","value":1}'.encode("utf-16-le")),
    # strings
    ("control byte in a string", b'{"userId":"a\x01","value":1}'),
    ("newline in a string", b'{"userId":"a\n","value":1}'),
    ("tab in a string", b'{"userId":"a\t","value":1}'),
    ("NUL in a string", b'{"userId":"a\0","value":1}'),
    ("control byte in an unknown string", b'{"x":"\x1f","userId":"a","value":1}'),
    ("control byte in a name", b'{"x\x1f":1,"userId":"a","value":1}'),
    ("unknown escape", user(r'"\x41"')),
    ("escape of a quote", user('"\\\'"')),
    ("escape in upper case", user(r'"\N"')),
    ("escape of a digit", user(r'"\0"')),
    ("\\u of three digits", user(r'"\u12"')),
    ("\\u with a letter that is no digit", user(r'"\u00g0"')),
    ("\\u with a sign", user(r'"\u+041"')),
    ("\\U", user(r'"\U00000041"')),
    ("unknown escape in an unknown string", b'{"x":"\\q","userId":"a","value":1}'),
    ("lone high surrogate", user(r'"\ud800"')),
    ("lone low surrogate", user(r'"\udc00"')),
    ("high surrogate before a letter", user(r'"\ud800a"')),
    ("high surrogate before an escape", user(r'"\ud800\n"')),
    ("two high surrogates", user(r'"\ud800\ud800"')),
    ("surrogates in the wrong order", user(r'"\udc00\ud800"')),
    ("high surrogate before another's escape", user(r'"\ud800\u0041"')),
    # UTF-8 (Unicode 15, table 3-7)
    *[(f"UTF-8: {bad.hex()}", b'{"userId":"a' + bad + b'b","value":1}') for bad in (
        b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xc2\x41", b"\xc3\xc3",
        b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xe2\x28\xa1", b"\xe2\x82\x28",
        b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf",
        b"\xf0\x9f\x98", b"\xf0\x28\x8c\xbc", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff")],
    ("UTF-8 wrong in an unknown string", b'{"x":"\xff","userId":"a","value":1}'),
    ("UTF-8 wrong in a name", b'{"\xc3":1,"userId":"a","value":1}'),
    ("UTF-8 cut at the end of the string", b'{"userId":"\xe2\x82","value":1}'),
    # nesting
    ("100000 deep", b'{"x":' + b"[" * 60000),
    ("too deep, though closed",
     b'{"x":' + b"[" * 20000 + b"]" * 20000 + b',"userId":"a","value":1}'),
    ("too deep, of objects",
     b'{"x":' + b'{"y":' * 9000 + b"0" + b"}" * 9000 + b',"userId":"a","value":1}'),
    # numbers; those accepted are in test_numbers.py
    *[(f"number {text}", b'{"userId":"a","value":%s}' % text.encode()) for text in (
        "01", "-01", "00", "+1", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1E-", "1e1.5", "--1", "-",
        "0x10", "1_000", "1,5", "1f", "1e5x", "0b1", "1 2", "1.2.3", "1ee5", "e5", "١",
        "1d", "1L")],
    *[(f"number {text[:12]} beyond the largest", b'{"userId":"a","value":%s}' % text.encode())
      for text in ("1e309", "-1e309", "1.7976931348623159e308", "1e400", "9" * 400,
                   "1e999999999999",
                   str(2 ** 1024 - 2 ** 970))],
    ("unknown number malformed", b'{"x":01,"userId":"a","value":1}'),
    ("unknown number malformed, nested", b'{"x":[1.],"userId":"a","value":1}'),
]


def counts(machine, name, value):
    machine.model.add(name, value)


def check_accepted(suite, body, name, value):
    machine = suite.shared()
    with Client(machine) as client:
        users = len(machine.model.users | {name})
        expect(client.ask(event(body)).status, 200, "status")
        counts(machine, name, value)
        # Cut into chunks of a byte or two, it is the same.
        step = max(1, len(body) // 700)
        pieces = [body[i:i + step] for i in range(0, len(body), step)]
        expect(client.ask(chunked(*pieces)).status, 200, "status in chunks")
        counts(machine, name, value)
        expect(json.loads(client.ask(get("/stats")).body)["uniqueUsers"], users, "uniqueUsers")
        client.expect_open()
    suite.expect_stats()


def check_refused(suite, body):
    with Client(suite.shared()) as client:
        whole = client.ask(event(body))
        expect_error(whole, 400, closes=False)
        step = max(1, len(body) // 700)
        cut = client.ask(chunked(*[body[i:i + step] for i in range(0, len(body), step)]))
        expect_error(cut, 400, closes=False)
        expect(cut.body, whole.body, "the same in chunks")
        client.expect_open()
    suite.expect_stats()


def check_offset(suite, body, offset):
    """Syntax: the answer names the byte."""
    with Client(suite.shared()) as client:
        answer = client.ask(event(body))
        expect_error(answer, 400)
        expect(str(offset) in answer.body.decode(), True, f"byte {offset} in {answer.body!r}")


def run(suite):
    suite.each([(f"accepted: {name}", suite, *rest) for name, *rest in ACCEPTED], check_accepted)
    suite.each([(f"refused: {name}", suite, body) for name, body in REFUSED], check_refused)
    suite.each([("offset of a byte that is wrong", suite, b'{"userId":"a","value":x}', 22),
                ("offset of a comma too many", suite, b'{"userId":"a",,"value":1}', 14),
                ("offset after leading blanks", suite, b'     @', 5),
                ("offset of what follows", suite, b'{"userId":"a","value":1}  x', 26)],
               check_offset)
