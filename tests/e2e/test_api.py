"""The routes: who answers what, with which headers (README.md, "Talking to it")."""

import json
import re
import urllib.parse

from harness import expect, expect_error
from wire import Client, event, get, request, stats_text

JSON = "application/json"
ROUTES = {
    "/stats": (JSON, r'\{"totalRequests":\d+,"uniqueUsers":\d+,'
                     r'"sum":[-0-9.e+]+,"avg":[-0-9.e+]+\}'),
    "/health": (JSON, r'\{"status":"healthy"\}'),
    "/metrics": ("text/plain; version=0.0.4; charset=utf-8", r"(?s)# .*\n"),
    "/": ("text/html; charset=utf-8", r"(?s)<!doctype html>.*"),
}
OTHER_METHODS = ["PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"]


def allowed(answer):
    return {word.strip() for word in (answer.field("allow") or "").split(",")}


def check_get(suite, path):
    content_type, pattern = ROUTES[path]
    with Client(suite.shared()) as client:
        answer = client.ask(get(path))
        expect(answer.status, 200, "status")
        expect(answer.field("content-type"), content_type, "Content-Type")
        expect(answer.field("connection"), None, "Connection")
        if not re.fullmatch(pattern, answer.body.decode(), re.IGNORECASE):
            raise AssertionError(f"body {answer.body[:300]!r}")
        client.expect_open()


def check_head(suite, path):
    """HEAD is GET without the content; /metrics may have counted on in between."""
    with Client(suite.shared()) as client:
        plain = client.ask(get(path))
        head = client.ask(request("HEAD", path), "HEAD")
        expect(head.status, 200, "status")
        expect(head.field("content-type"), plain.field("content-type"), "Content-Type")
        length = int(head.field("content-length"))
        if path != "/metrics":
            expect(length, len(plain.body), "Content-Length")
        elif abs(length - len(plain.body)) > 200:
            raise AssertionError(f"Content-Length {length}, of GET {len(plain.body)}")
        client.expect_open()


def check_page_address(suite):
    """The page names no address, nor the Host it was asked by: what it links is where it is."""
    with Client(suite.shared()) as client:
        for host in ("tally:9000", "127.0.0.1:8080", "a'b"):
            page = client.ask(request("GET", "/", host=host)).body.decode()
            expect(re.findall(r"\d+\.\d+\.\d+|\d{4}|tally|localhost|a'b", page), [], "addresses")
            links = re.findall(r'(?:href|src|action)="([^"]*)"', page)
            expect(sorted(links), ["health", "metrics", "stats"], "links")
            for link in links:
                target = urllib.parse.urljoin("http://there:1/", link)
                expect(client.ask(get(target)).status, 200, target)


def check_method(suite, path, method, status, methods):
    with Client(suite.shared()) as client:
        answer = client.ask(request(method, path, b"{}" if method == "PUT" else None), method)
        expect(answer.status, status, "status")
        expect(allowed(answer), methods, "Allow")
        if status == 204:
            expect(answer.field("content-type"), None, "Content-Type")
        elif method != "HEAD":
            expect_error(answer, status)
        client.expect_open()


def check_unknown(suite, method, path):
    """404, once its body has been read like any other."""
    with Client(suite.shared()) as client:
        body = b"GET /stats HTTP/1.1\r\n\r\n" if method == "POST" else None
        expect_error(client.ask(request(method, path, body), method), 404, closes=False)
        client.expect_open()


def check_target(suite, target, status, host="tally"):
    with Client(suite.shared()) as client:
        expect(client.ask(request("GET", target, host=host)).status, status, "status")
        client.expect_open()


def check_event(suite):
    machine = suite.shared()
    with Client(suite.shared()) as client:
        answer = client.ask(event(b'{"userId": "user_42", "value": 42.5}'))
        machine.model.add("user_42", 42.5)
        expect(answer.status, 200, "status")
        expect(answer.body, b"", "body")
        expect(answer.field("content-length"), "0", "Content-Length")
        expect(answer.field("content-type"), None, "Content-Type")
        client.expect_open()
    suite.expect_stats()


def check_no_content_type(suite):
    machine = suite.shared()
    with Client(suite.shared()) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
            answer = client.ask(event(b'{"userId":"t","value":1}', "Content-Type: " + kind))
            expect(answer.status, 200, kind)
            machine.model.add("t", 1)
    suite.expect_stats()


def check_linearizable(suite):
    """/stats on one connection counts what another has been told is counted."""
    machine = suite.shared()
    with Client(machine) as poster, Client(machine) as asker:
        for i in range(100):
            expect(poster.ask(event(b'{"userId":"lin","value":%d}' % i)).status, 200)
            machine.model.add("lin", i)
            expect(asker.ask(get("/stats")).body.decode(), machine.model.text(), f"after {i}")


def check_fresh(suite):
    zero = '{"totalRequests":0,"uniqueUsers":0,"sum":0.0,"avg":0.0}'
    expect(stats_text(suite.shared()), zero)


def check_errors_do_not_echo(suite):
    """Whatever the client sends, an error's text is JSON."""
    with Client(suite.shared()) as client:
        for body in (b'{"userId":"a\\u0000<script>","value":"\\""}', b'{"a":\x80"}', b'"\\x"}{'):
            answer = client.ask(event(body))
            expect_error(answer, 400, closes=False)
            json.loads(answer.body)


def run(suite):
    if suite.shared().model.total == 0:
        suite.each([("stats of a fresh machine", suite)], check_fresh)
    suite.each([("POST /event", suite)], check_event)
    suite.each([("Content-Type does not matter", suite)], check_no_content_type)
    suite.each([(f"GET {path}", suite, path) for path in ROUTES], check_get)
    suite.each([(f"HEAD {path}", suite, path) for path in ROUTES], check_head)
    suite.each([("the page names no address", suite)], check_page_address)
    reading, posting = {"GET", "HEAD", "OPTIONS"}, {"POST", "OPTIONS"}
    wrong = [(f"{method} {path}", suite, path, method, 405, reading)
             for path in ROUTES for method in ["POST", *OTHER_METHODS]]
    wrong += [(f"{method} /event", suite, "/event", method, 405, posting)
              for method in ["GET", "HEAD", *OTHER_METHODS]]
    suite.each(wrong, check_method)
    suite.each([(f"OPTIONS {path}", suite, path, "OPTIONS", 204, reading) for path in ROUTES],
               check_method)
    suite.each([("OPTIONS /event", suite, "/event", "OPTIONS", 204, posting)], check_method)
    suite.each([(f"{method} {path}", suite, method, path)
                for method in ("GET", "POST", "DELETE")
                for path in ("/nothing", "/stats/", "/EVENT", "/event2", "/even", "/x" * 500)],
               check_unknown)
    suite.each([("query", suite, "/stats?a=b&c", 200), ("empty query", suite, "/health?", 200),
                ("query on /", suite, "/?x", 200),
                ("absolute form", suite, "http://tally/stats", 200),
                ("absolute form without path", suite, "http://tally", 200),
                ("absolute form, other path", suite, "http://tally/nothing", 404),
                ("absolute form with query", suite, "http://tally/health?x", 200),
                ("Host with port", suite, "/stats", 200, "tally:8080"),
                ("Host as address", suite, "/stats", 200, "[::1]:80")], check_target)
    suite.each([("a 200 is counted before the next /stats", suite)], check_linearizable)
    suite.each([("errors do not echo", suite)], check_errors_do_not_echo)
    suite.each([("stats at the end",)], suite.expect_stats)
