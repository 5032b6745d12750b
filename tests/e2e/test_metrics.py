"""/metrics: well formed, true, and what Prometheus and the challenge's board make of it."""

import contextlib
import json
import math
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from harness import expect
from machine import loopback_port
from wire import Client, event, get

METRIC_LINE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? (\S+)\Z')
METRICS = ["http_requests_total", "http_request_duration_seconds_bucket",
           "http_request_duration_seconds_sum", "http_request_duration_seconds_count",
           "http_requests_in_flight", "events_processed_total", "events_failed_total",
           "unique_users_total", "event_values_sum_total"]


def read_metrics(machine):
    """{name{labels}: value} of a text that is well formed: each family has its TYPE before it."""
    with Client(machine) as client:
        text = client.ask(get("/metrics")).body.decode()
    values, types = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            if name in types:
                raise AssertionError(f"TYPE {name} twice")
            types.add(name)
        elif not line.startswith("# HELP "):
            match = METRIC_LINE.match(line)
            if not match:
                raise AssertionError(f"not a sample: {line!r}")
            name = match[1]
            if name not in types and re.sub("_(bucket|sum|count)$", "", name) not in types:
                raise AssertionError(f"no TYPE before {line!r}")
            if name + (match[2] or "") in values:
                raise AssertionError(f"twice: {line!r}")
            values[name + (match[2] or "")] = float(match[3])
    return values


def check_metrics(suite):
    machine = suite.shared()
    before = read_metrics(machine)
    names = {key.split("{")[0] for key in before}
    missing = [name for name in METRICS if name not in names]
    expect(missing, [], "missing")
    if not any(name.startswith("tally_") for name in names):
        raise AssertionError("none that begins with tally_")
    model = machine.model
    expect(before["events_processed_total"], model.total, "events_processed_total")
    expect(before["unique_users_total"], len(model.users), "unique_users_total")
    expect(before["event_values_sum_total"], float(model.sum), "event_values_sum_total")


def check_metrics_count(suite):
    machine = suite.shared()
    accepted = 'http_requests_total{method="POST",endpoint="/event",status="200"}'
    refused = 'http_requests_total{method="POST",endpoint="/event",status="400"}'
    before = read_metrics(machine)
    with Client(suite.shared()) as client:
        for _ in range(5):
            expect(client.ask(event()).status, 200)
            machine.model.add("u", 1)
        for _ in range(3):
            expect(client.ask(event(b"{")).status, 400)
    after = read_metrics(machine)
    failed = sum(after[k] - before.get(k, 0) for k in after if k.startswith("events_failed_total"))
    expect(after[accepted] - before.get(accepted, 0), 5, accepted)
    expect(after[refused] - before.get(refused, 0), 3, refused)
    expect(failed, 3, "events_failed_total")
    labels = '{method="POST",endpoint="/event"'
    bucket = f"http_request_duration_seconds_bucket{labels}"
    buckets = [v for k, v in after.items() if k.startswith(bucket)]
    expect(buckets, sorted(buckets), "buckets")
    count = f"http_request_duration_seconds_count{labels}}}"
    expect(buckets[-1], after[count], "the last bucket")
    expect(after[count] - before[count], 8, "durations observed")
    expect(after[f"http_requests_in_flight{labels}}}"], 0, "in flight")


# ---- promtool

# Gauges with the names that the challenge's board asks for; their proper ones stand beside them.
KNOWN_LINT = {f'{name} non-counter metrics should not have "_total" suffix'
              for name in ("unique_users_total", "event_values_sum_total")}


def check_lint(suite):
    """Prometheus' own linter finds fault with these two names and nothing else."""
    machine = suite.shared()
    with Client(machine) as client:  # so that most series are there
        for data in (event(), event(b"{"), event(b"{}", "Content-Encoding: gzip"),
                     get("/stats"), get("/health"), get("/"), get("/metrics"), get("/no")):
            client.ask(data)
        machine.model.add("u", 1)
        text = client.ask(get("/metrics")).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          timeout=60)
    expect(set(done.stderr.decode().splitlines()), KNOWN_LINT, f"promtool: {done}")


# ---- the challenge's board

RULES = """
scrape_configs:
  - job_name: tally
    scrape_interval: 1s
    static_configs:
      - targets: ["{target}"]
        labels: {{service: tally, implementation: Tally}}
"""

SERVICE = 'service=~".*"'
EVENTS = f'{SERVICE},endpoint="/event"'
REQUESTS = f"http_requests_total{{{SERVICE}}}"


def quantile(of):
    rate = f"rate(http_request_duration_seconds_bucket{{{EVENTS}}}[5m])"
    return f"histogram_quantile({of}, sum({rate}) by (le, implementation))"


def share(statuses):
    some = f'http_requests_total{{{SERVICE},status=~"{statuses}"}}'
    return f"rate({some}[1m]) / rate({REQUESTS}[1m]) * 100"


# What each panel of the board shows, but for the one about a JVM.
PANELS = {
    "request rate": f'rate(http_requests_total{{{EVENTS},status="200"}}[1m])',
    "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99),
    "requests": f"sum({REQUESTS})",
    "events": f"sum(events_processed_total{{{SERVICE}}})",
    "users": f"sum(unique_users_total{{{SERVICE}}})",
    "failed": f"sum(events_failed_total{{{SERVICE}}})",
    "event rate": f"rate(events_processed_total{{{SERVICE}}}[1m])",
    "users over time": f"unique_users_total{{{SERVICE}}}",
    "in flight": f"http_requests_in_flight{{{EVENTS}}}",
    "4xx": share("4.."), "5xx": share("5.."),
}


@contextlib.contextmanager
def prometheus(machine):
    """Debian's, scraping the machine every second; gives a function that asks it."""
    address = f"127.0.0.1:{loopback_port()}"

    def ask(query):
        """The values that a query has now; NaN is none."""
        url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return []  # it is starting
        values = [float(series["value"][1]) for series in result]
        return [value for value in values if not math.isnan(value)]

    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/rules.yml", "w", encoding="ascii") as file:
            file.write(RULES.format(target=f"{machine.address}:{machine.port}"))
        server = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/rules.yml",
             f"--web.listen-address={address}", f"--storage.tsdb.path={directory}/data"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield ask
        finally:
            server.kill()
            server.communicate()


def ask_until(ask, queries, wanted, while_waiting, seconds=60):
    """What each query says, once all say what is wanted."""
    deadline = time.monotonic() + seconds
    while True:
        while_waiting()
        values = {name: ask(query) for name, query in queries.items()}
        missing = {name: values[name] for name in queries if not wanted(name, values[name])}
        if not missing:
            return values
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s: {missing}")
        time.sleep(0.2)


def check_board(suite):
    """A real Prometheus has data for each panel, and the data are true."""
    with suite.boot(options="max-users=3") as machine, prometheus(machine) as ask:
        users = [b'{"userId":"%c","value":1.5}' % letter for letter in b"abcd"]
        with Client(machine) as client:
            def traffic():
                for body, status in ((users[0], 200), (users[1], 200), (users[2], 200),
                                     (users[3], 507), (b"{", 400)):
                    expect(client.ask(event(body)).status, status, f"{body}")
                machine.model.total += 3

            values = ask_until(ask, PANELS, lambda _, values: values, traffic)
            for name in ("request rate", "event rate", "p50", "p95", "p99"):
                expect(min(values[name]) > 0, True, f"{name}: {values[name]}")
            totals = {"events": machine.model.total, "users": 3,
                      "failed": machine.model.total // 3 * 2}
            ask_until(ask, {name: PANELS[name] for name in totals},
                      lambda name, values: values == [totals[name]], lambda: None)


def run(suite):
    suite.each([("metrics are well formed and true", suite)], check_metrics)
    suite.each([("metrics count", suite)], check_metrics_count)
    suite.each([("metrics by promtool's rules", suite)], check_lint)
    suite.each([("the challenge's board, by a real Prometheus", suite)], check_board)
