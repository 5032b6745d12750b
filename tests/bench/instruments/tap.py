"""Requests a second of five servers, in turn: the appliance, and what it is compared with.

    tally          the appliance in the emulator, over a tap
    tally-kvm      the appliance under KVM, over a tap, where KVM works
    linux          the baseline server (tests/baseline/) on Linux in the same emulator, over a tap
    epoll          the same server on the host's loopback
    nginx          `return 200` on the host's loopback: it parses no event, and counts none

All are started once. While one is measured the others are stopped (SIGSTOP), so that an idle loop
that polls takes no processor from them.
"""

import contextlib
import json
import os
import re
import subprocess
import time

import qemu

from . import guest, linux, machine
from .tools import BenchError, built, die_with_parent, median, scratch_path

SERVERS = ("tally", "tally-kvm", "linux", "epoll", "nginx")
CLIENTS = ("wrk", "tally-load")
DEPTHS = (1, 16)

_NGINX_PORT = 8081
_EPOLL_PORT = 8082
_BOOT_SECONDS = 60
_PROBE_REQUESTS = 20000
_SECONDS = 3

_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy;
    fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi;
    scgi_temp_path {directory}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        location / {{ return 200; }}
    }}
}}
"""


def _start_nginx(namespace):
    configuration = scratch_path("nginx.conf")
    with open(configuration, "w", encoding="ascii") as file:
        file.write(_NGINX.format(directory=os.path.dirname(configuration), port=_NGINX_PORT))
    return machine.Process("nginx", ("nginx", "-e", "stderr", "-c", configuration), namespace,
                           "127.0.0.1", _NGINX_PORT)


def _start_linux(namespace, options):
    kernel, _, modules = linux.kernel()
    initrd = scratch_path("initrd")
    linux.initramfs(initrd, modules, built("bench/linux-init"), built("bench/epoll-server-static"))
    return machine.linux(namespace, kernel, initrd, options)


def _start_kvm(namespace, options):
    why_not = qemu.why_not_kvm(built("tally.elf"), "microvm")
    if why_not:
        raise BenchError(why_not)
    return machine.tally(namespace, built("tally.elf"), options, machine="microvm",
                         accelerator="kvm")


def _start(name, arguments, namespaces):
    options = f"max-connections={max(1024, arguments.connections + 8)}"
    if name == "tally":
        return machine.tally(namespaces["tally"], built("tally.elf"), options)
    if name == "tally-kvm":
        return _start_kvm(namespaces["kvm"], options)
    if name == "linux":
        return _start_linux(namespaces["linux"], arguments.linux_options)
    if name == "epoll":
        return machine.Process("epoll", (built("epoll-server"), f"127.0.0.1:{_EPOLL_PORT}"),
                               namespaces["tally"], "127.0.0.1", _EPOLL_PORT)
    return _start_nginx(namespaces["tally"])


# ---- clients

def _seconds(arguments):
    return arguments.seconds or _SECONDS


def _client(server, command):
    """Runs a client to its end: its output, and its CPU seconds."""
    with server.namespace.entered():
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, preexec_fn=die_with_parent)
    before = time.monotonic()
    # Both end by themselves; the timer is for a server that hangs.
    output = client.stdout.read() if _poll_end(client) else ""
    _, status, usage = os.wait4(client.pid, 0)
    client.returncode = os.waitstatus_to_exitcode(status)
    client.stdout.close()
    return client.returncode, output, usage.ru_utime + usage.ru_stime, time.monotonic() - before


def _poll_end(client, seconds=120):
    """Waits for it without reaping it; kills it after `seconds`. False if it had to."""
    end = time.monotonic() + seconds
    while os.waitid(os.P_PID, client.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > end:
            client.kill()
            return False
        time.sleep(0.02)
    return True


def _run_wrk(server, arguments, depth, _):
    """(requests, seconds, CPU seconds of the client)."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "event.lua")
    status, output, cpu, _ = _client(server, (
        "wrk", "-t1", f"-c{arguments.connections}", f"-d{_seconds(arguments)}s", "-s", script,
        f"http://{server.address}:{server.port}/event", "--", str(depth)))
    found = re.search(r"(\d+) requests in ([0-9.]+)(ms|s|m)", output)
    if status != 0 or not found:
        raise BenchError(f"wrk: {output.strip()[-300:]}")
    if "Non-2xx" in output or "Socket errors" in output:
        raise BenchError(f"wrk saw errors: {output.strip()[-300:]}")
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", output).group(1))
    return int(found.group(1)), int(found.group(1)) / rate, cpu


def _load_report(server, arguments, depth, requests):
    path = scratch_path("load.json")
    status, output, cpu, _ = _client(server, (
        built("tally-load"), "--quiet", "--requests", str(requests), "--connections",
        str(arguments.connections), "--depth", str(depth), "--timeout-s", "100", "--json", path,
        *(("--no-check",) if server.name == "nginx" else ()), f"{server.address}:{server.port}"))
    if status != 0:
        raise BenchError(f"tally-load: {output.strip()[-300:]}")
    with open(path, encoding="utf-8") as file:
        return json.load(file), cpu


def _run_load(server, arguments, depth, known):
    """As wrk's; as many requests as are answered in the time, as far as is known."""
    if (server.name, depth) not in known:
        report, _ = _load_report(server, arguments, depth, _PROBE_REQUESTS)
        known[server.name, depth] = report["requests_per_second"]
    requests = max(_PROBE_REQUESTS, int(known[server.name, depth] * _seconds(arguments)))
    report, cpu = _load_report(server, arguments, depth, requests)
    known[server.name, depth] = report["requests_per_second"]
    return requests, report["seconds"], cpu


# ---- measuring

def _counts(server):
    """What the machine and its host count: {"kicks": of the network device, "exits"}."""
    if not server.name.startswith("tally"):
        return {}
    counts = {"kicks": guest.metric(server.get("/metrics"), "tally_kicks_total"),
              "exits": server.exits()}
    return {what: count for what, count in counts.items() if count is not None}


def _measure(server, client, arguments, depth, known):
    # What it takes to answer /metrics once is among them: some ten kicks, of many thousands.
    before = _counts(server)
    vcpu, others = server.cpu_seconds()
    runner = _run_wrk if client == "wrk" else _run_load
    requests, seconds, of_client = runner(server, arguments, depth, known)
    vcpu_after, others_after = server.cpu_seconds()
    measured = {"rate": requests / seconds,
                "vcpu_ns": (vcpu_after - vcpu) / requests * 1e9,
                "server_ns": (others_after - others) / requests * 1e9,
                "client_ns": of_client / requests * 1e9}
    after = _counts(server)
    return measured | {what: (after[what] - before[what]) / requests
                       for what in before.keys() & after.keys()}


def _start_all(arguments, namespaces, stack, note):
    servers = []
    for name in SERVERS:
        try:
            server = stack.enter_context(_start(name, arguments, namespaces))
            if isinstance(server, machine.Guest):
                server.wait_for("listening on", _BOOT_SECONDS)
            else:
                server.wait_for_port(10)
        except BenchError as error:
            note(f"tap: {name}: {error}")
            continue
        server.pause()
        servers.append(server)
    return servers


def _medians(runs):
    """Of what was measured in each of them."""
    return {what: median(one[what] for one in runs)
            for what in runs[0] if all(what in one for one in runs)}


def rates(arguments, note):
    """{client/depth: {server: {rate, vcpu_ns, server_ns, client_ns}}}: medians.

    Of the appliance also kicks, and under KVM exits, a request.
    """
    samples = {}
    known = {}
    with contextlib.ExitStack() as stack:
        namespaces = {name: stack.enter_context(machine.Namespace(name))
                      for name in ("tally", "kvm", "linux")}
        servers = _start_all(arguments, namespaces, stack, note)
        for _ in range(arguments.runs):
            for client in CLIENTS:
                for depth in DEPTHS:
                    for server in servers:
                        server.resume()
                        try:
                            one = _measure(server, client, arguments, depth, known)
                            samples.setdefault((client, depth), {}).setdefault(
                                server.name, []).append(one)
                        except BenchError as error:
                            note(f"tap: {server.name}, {client}, depth {depth}: {error}")
                        server.pause()
    results = {f"{client}/{depth}": {name: _medians(runs) for name, runs in by_server.items()}
               for (client, depth), by_server in samples.items()}
    if any("exits" not in servers.get("tally-kvm", {"exits": 0}) for servers in results.values()):
        note("tap: tally-kvm: no exits a request: neither this kernel nor QEMU tells how many")
    return results
