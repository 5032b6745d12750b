"""Instructions by function and by stage, of a callgrind profile.

Link-time optimisation leaves few functions of those that were written. So instructions are counted
one by one (--dump-instr=yes), and each belongs to the function whose source it comes from, inlined
or not, as the debug information says.
"""

import collections
import re
import subprocess

# What a request goes through. The first pattern that "file:function" matches counts.
STAGES = (
    ("copying", r"^libc:|memcpy|memmove|memset|memcmp|net/copy\."),
    ("transmit", r"wire\.c:netdev_transmit|wire\.c:netdev_flush|kernel/(chacha|entropy)"
                 r"|link\.c:(link_reap|link_flush|link_space|link_send_segment|send_frame|gather"
                 r"|sum_headers|transmit|put_ethernet_header)"
                 r"|net/(reply|ip_header)\.|tcp\.c:tcp_update_rcv_ann_wnd"
                 r"|/tcp_out\.c:|etharp\.c:etharp_output|/ip4\.c:ip4_(output|route)"
                 r"|ethernet\.c:ethernet_output|app/response\.|routes\.c:send_ok"
                 r"|turn\.c:(server_send|end_turn|output|send_limit|pool_segments|segment_bytes"
                 r"|can_answer|above)"),
    ("receive", r"/wire\.c:|net/(link|guard|conn_table|endpoint|list|unread)\."
                r"|/(tcp_in|tcp|ip4|ip4_addr|etharp|ethernet|def)\.c:|turn\.c:turn_queue"),
    ("memory", r"net/pool\.|/(pbuf|mem|memp)\.c:"),
    ("http", r"app/http"),
    ("event", r"app/(event|decimal|bignum)"),
    ("aggregate", r"app/(users|siphash|sum|stats)"),
    ("routes", r"app/"),
    ("loop", r"net/|bench/native\.c:"),
)

STAGE_NAMES = tuple(name for name, _ in STAGES) + ("other",)


def _read_costs(path):
    """{address: instructions}, and {address: function's name} where the profile knows it."""
    costs = collections.Counter()
    names = {}
    functions = {}
    address = 0
    function = ""
    skip = False
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("fn=", "cfn=")):
                key, _, name = line.partition("=")[2].strip().partition(" ")
                if name:
                    functions[key] = name
                if line.startswith("fn="):
                    function = functions.get(key, key)
            elif line.startswith("calls="):
                skip = True
            elif line[0] in "0123456789+-*":
                fields = line.split()
                where = fields[0]
                if where[0] == "+":
                    address += int(where[1:], 0)
                elif where[0] == "-":
                    address -= int(where[1:], 0)
                elif where[0] != "*":
                    address = int(where, 0)
                if not skip and len(fields) > 2:
                    costs[address] += int(fields[2])
                    names[address] = function
                skip = False
    return costs, names


def _locate(binary, addresses, directory):
    """{address: "file:function"} of the innermost function that the address was inlined from."""
    text = "\n".join(f"{address:#x}" for address in addresses)
    lines = subprocess.run(["addr2line", "-a", "-f", "-i", "-e", binary], input=text, check=True,
                           capture_output=True, text=True).stdout.splitlines()
    found = {}
    for at, line in enumerate(lines):
        if line.startswith("0x") and at + 2 < len(lines):
            source = lines[at + 2].partition(":")[0].replace(directory + "/", "")
            function = re.sub(r"\.(constprop|isra|part|lto_priv|cold)\b.*", "", lines[at + 1])
            found[int(line, 16)] = f"{source}:{function}"
    return found


def stage_of(function):
    for name, pattern in STAGES:
        if re.search(pattern, function):
            return name
    return "other"


def profile(path, binary, directory):
    """Counter of instructions by "file:function"."""
    costs, names = _read_costs(path)
    where = _locate(binary, sorted(costs), directory)
    functions = collections.Counter()
    for address, cost in costs.items():
        function = where.get(address, "??:??")
        if function.startswith("??"):
            function = f"libc:{names[address]}"
        functions[function] += cost
    return functions
