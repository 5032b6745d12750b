"""What make says before it does anything, and scripts/debug, which it hands over to."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import expect
from test_reach import AS_NOBODY, NOBODY
from test_run import NAME, TOP, Run, instead

# Not of this make: what started these tests may be another.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MAKELEVEL")}
# Instead of gdb: it shows its arguments; the machine ends under it, and with it the run.
GDB = f"""printf '<%s>' "$@"
until pid=$(cat /run/tally/{NAME}/machine); do sleep 0.1; done 2>/dev/null
kill -KILL "$pid"
while [ -e /run/tally/{NAME} ]; do sleep 0.1; done"""


class RunDebug(Run):
    command = ("scripts/debug",)


def make(*words, cwd=TOP, **environment):
    return subprocess.run(["make", *words], cwd=cwd, env={**ENVIRONMENT, **environment},
                          capture_output=True, text=True, timeout=60)


def variables():
    return re.findall(r"(?m)^  ([A-Z_]+) ", make("help").stdout)


def check_help(suite):
    """All the variables that README.md names are in it."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b([A-Z_]+)=", text)) | set(re.findall(r"(?m)^\| `([A-Z]+)` ", text))
    expect(sorted(named - set(variables())), [], "not in it")


def check_misspelt(suite):
    """A variable that nothing takes is refused, with the nearest of those that are taken."""
    for word, hint in (("NETSN=x", "did you mean NETNS=? "), ("PORTT=1", "did you mean PORT=? "),
                       ("port=1", "did you mean PORT=? "), ("XYZZY=1", "")):
        done = make("help", word)
        expect((done.returncode, done.stdout), (2, ""), f"exit status and output of {word}")
        expect(done.stderr.partition("*** ")[2], f"{word.partition('=')[0]}=: no such variable; "
               f"{hint}`make help` lists them.  Stop.\n", "said")


def check_taken(suite):
    """All that `make help` lists, and what builds with other tools, whatever is in their values."""
    known = [f"{name}=" for name in (*variables(), "CC", "AR", "NM", "STRIP", "Q", "VERSION",
                                     "REVISION")]
    done = make("-n", "help", *known, "ARGS=log=debug NETSN=a 'b", "-j2")
    expect((done.returncode, done.stderr), (0, ""), "exit status and complaint")


def check_environment(suite):
    """What was not given is not there, not even empty; what was given reaches the scripts."""
    seen = make("--eval", "show:\n\t@env", "show", "PORT=9000", ARGS="log=debug").stdout
    expect(sorted(line for line in seen.splitlines() if line.partition("=")[0] in variables()),
           ["ARGS=log=debug", "PORT=9000"], "variables")


def check_packages(suite):
    """Who may not install them is told all that a command needs, at once and once."""
    with tempfile.TemporaryDirectory() as directory, \
            instead(**{"dpkg-query": "exit 1"}) as path:
        os.chown(directory, NOBODY, NOBODY)
        shutil.copy(TOP / "Makefile", directory)
        shutil.copytree(TOP / "scripts", f"{directory}/scripts")
        for goals, some in ((["run"], ["gcc", "haproxy"]), (["load", "debug"], ["gcc", "gdb"]),
                            (["test"], ["gcc", "haproxy", "clang", "gcovr"])):
            done = subprocess.run([*AS_NOBODY, "make", *goals], cwd=directory,
                                  env=dict(ENVIRONMENT, PATH=path), capture_output=True, text=True)
            expect(done.returncode, 2, f"exit status; {done.stderr}")
            lines = re.findall("(?m)apt-get install (.*)$", done.stderr)
            words = " ".join(lines).split()
            expect([word for word in some if word not in words], [], f"not named by {goals}")
            expect(sorted(words), sorted(set(words)), f"named by {goals}")
            expect(len(lines), 1, f"lines of {done.stderr}")


def check_configuration(suite):
    """Another configuration of lwIP is one for lwIP's objects and for all that include its headers:
    they would not agree on its structures."""
    sources = ("build/lwip/src/core/netif.c", "net/link/link.c")
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
        done = subprocess.run([*AS_NOBODY, "make"], cwd=directory, env=ENVIRONMENT,
                              capture_output=True, text=True)
    expect((done.returncode, done.stdout), (2, ""), "exit status and output")
    expect("may not write to build/" in done.stderr, True, done.stderr)
    expect(done.stderr.count("\n"), 1, f"lines of {done.stderr}")


def check_debug(suite, port, status, text):
    """However the run has ended, the status is of the session, and no file is left."""
    with tempfile.TemporaryDirectory() as directory, instead(gdb=GDB) as path, \
            RunDebug(suite, port=port, PATH=path, TMPDIR=directory,
                     GDB_ARGS="-ex 'print 1 + 1'") as debug:
        expect(debug.wait(), status, f"exit status; {debug.text}")
        debug.wait_for(text, 2)
        expect(list(pathlib.Path(directory).iterdir()), [], "files left")


def run(suite):
    for name, check in (("make help", check_help), ("a misspelt variable", check_misspelt),
                        ("variables that are taken", check_taken),
                        ("what reaches the scripts", check_environment),
                        ("another configuration of lwIP", check_configuration),
                        ("make and XDG_CACHE_HOME", check_cache_home)):
        suite.each([(name, suite)], check)
    if not suite.is_root:
        print("e2e: make: skipped: other users, and namespaces with a name, want root")
        return
    suite.each([("somebody else's tree", suite)], check_foreign_tree)
    suite.each([("packages are named once", suite)], check_packages)
    suite.each([("make debug", suite, None, 0, "the console is in build/debug.log"),
                ("make debug, arguments with blanks", suite, None, 0, "<-ex><print 1 + 1>"),
                ("make debug, a wrong port", suite, "abc", 2, "error: PORT=abc")], check_debug)
