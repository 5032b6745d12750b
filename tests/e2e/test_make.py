"""What make says before it does anything, and scripts/debug, which it hands over to."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import expect
from test_run import NAME, TOP, Run, instead

# Not of this make: what started these tests may be another.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MAKELEVEL")}
# Instead of gdb: the machine ends under it, and with it the run.
GDB = f"""until pid=$(cat /run/tally/{NAME}/machine); do sleep 0.1; done 2>/dev/null
kill -KILL "$pid"
while [ -e /run/tally/{NAME} ]; do sleep 0.1; done"""


class RunDebug(Run):
    command = ("scripts/debug",)


def check_help(suite):
    """All the variables that README.md names are in it."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b([A-Z_]+)=", text)) | set(re.findall(r"(?m)^\| `([A-Z]+)` ", text))
    done = subprocess.run(["make", "help"], cwd=TOP, env=ENVIRONMENT, capture_output=True,
                          text=True, check=True)
    expect(sorted(named - set(re.findall(r"(?m)^  ([A-Z_]+) ", done.stdout))), [], "not in it")


def check_configuration(suite):
    """Another configuration of lwIP is one for lwIP's objects and for all that include its headers:
    they would not agree on its structures."""
    sources = ("build/lwip/src/core/netif.c", "net/link.c")
    objects = [f"build/host/{name.removeprefix('build/')}.o" for name in sources]

    def make(*options):
        return subprocess.run(["make", *options, *objects], cwd=TOP, env=ENVIRONMENT,
                              capture_output=True, text=True, check=True).stdout
    make()
    commands = make("-n", "-W", "net/lwipopts.h")
    expect([name for name in sources if f" -c {name} " not in commands], [], "not compiled")


def check_cache_home(suite):
    """Not set is not empty: programs that make runs (ccache) would put their caches here."""
    for given, expected in (({}, "unset"), ({"XDG_CACHE_HOME": "/x"}, "/x")):
        environment = {name: value for name, value in ENVIRONMENT.items()
                       if name != "XDG_CACHE_HOME"}
        done = subprocess.run(
            ["make", "--eval", "show: ; @echo $${XDG_CACHE_HOME-unset}", "show"], cwd=TOP,
            env=environment | given, capture_output=True, text=True, check=True)
        expect(done.stdout, f"{expected}\n", "XDG_CACHE_HOME")


def check_foreign_tree(suite):
    """Who may not write there is told so in one line."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        shutil.copy(TOP / "Makefile", directory)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "make"],
            cwd=directory, env=ENVIRONMENT, capture_output=True, text=True)
    expect((done.returncode, done.stdout), (2, ""), "exit status and output")
    expect("may not write to build/" in done.stderr, True, done.stderr)
    expect(done.stderr.count("\n"), 1, f"lines of {done.stderr}")


def check_debug(suite, port, status, text):
    """However the run has ended, the status is of the session, and no file is left."""
    with tempfile.TemporaryDirectory() as directory, instead(gdb=GDB) as path, \
            RunDebug(suite, port=port, PATH=path, TMPDIR=directory) as debug:
        expect(debug.wait(), status, f"exit status; {debug.text}")
        debug.wait_for(text, 2)
        expect(list(pathlib.Path(directory).iterdir()), [], "files left")


def run(suite):
    suite.each([("make help", suite)], check_help)
    suite.each([("another configuration of lwIP", suite)], check_configuration)
    suite.each([("make and XDG_CACHE_HOME", suite)], check_cache_home)
    if not suite.is_root:
        print("e2e: make: skipped: other users, and namespaces with a name, want root")
        return
    suite.each([("somebody else's tree", suite)], check_foreign_tree)
    suite.each([("make debug", suite, None, 0, "the console is in build/debug.log"),
                ("make debug, a wrong port", suite, "abc", 2, "error: PORT=abc")], check_debug)
