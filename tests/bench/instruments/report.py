"""The table, and the counts' reference."""

import json
import os

from .callgrind import STAGE_NAMES
from .tools import TOP

REFERENCE = os.path.join(TOP, "tests", "bench", "reference.json")
_REGRESSION = 0.05


def _reference():
    try:
        with open(REFERENCE, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def _counts(results):
    """{instrument: {case: total}} of those that count."""
    return {name: {case: round(value["total"], 1) for case, value in results[name].items()
                   if "total" in value}
            for name in ("guest", "flood", "callgrind", "heads") if name in results}


def update_reference(results):
    reference = _reference()
    for name, cases in _counts(results).items():
        reference.setdefault(name, {}).update(cases)
    with open(REFERENCE, "w", encoding="utf-8") as file:
        json.dump(reference, file, indent=1)
        file.write("\n")


def _title(text):
    print(f"\n{text}")


def _beside(count, reference):
    if reference is None:
        return f"{'-':>9}"
    change = count / reference - 1
    mark = "  REGRESSION" if change > _REGRESSION else ""
    return f"{reference:>9.1f} {100 * change:>+6.1f} %{mark}"


def _case(text):
    connections, depth = text.split("/")
    return f"{connections:>7} conn, depth {depth:>2}"


def _failed(case, value):
    if "error" in value:
        print(f"  {_case(case)}   failed (see the notes)")
    return "error" in value


def _show_guest(guest, reference):
    _title("Instructions a request, in the guest (-icount); reference beside it")
    for case, value in guest.items():
        if not _failed(case, value):
            print(f"  {_case(case)} {value['total']:>9.1f} "
                  f"{_beside(value['total'], reference.get(case))}   "
                  f"({value['batch']:.0f} requests a batch, {value['frames']:.2f} frames each)")


def _show_flood(flood, reference):
    _title("Instructions a frame of a flood, in the guest (-icount); reference beside it")
    for kind, value in flood.items():
        if "error" in value:
            print(f"  {kind:<8} failed (see the notes)")
            continue
        print(f"  {kind:<8} {value['total']:>9.1f} "
              f"{_beside(value['total'], reference.get(kind))}   "
              f"({value['batch']:.0f} frames a batch)")


def _show_callgrind(callgrind, reference):
    _title("Instructions a request, compiled for the host (callgrind); reference beside it")
    for case, value in callgrind.items():
        if not _failed(case, value):
            print(f"  {_case(case)} {value['total']:>9.1f} "
                  f"{_beside(value['total'], reference.get(case))}")
    _title("  by stage")
    good = {case: value for case, value in callgrind.items() if "stages" in value}
    print(" " * 14 + "".join(f"{case:>10}" for case in good))
    for stage in STAGE_NAMES:
        print(f"    {stage:<10}" + "".join(f"{value['stages'][stage]:>10.1f}"
                                           for value in good.values()))
    for case in ("64/1", "64/16"):
        if case in good:
            _title(f"  most costly functions, {_case(case).strip()}")
            for function, count in good[case]["top"][:25]:
                print(f"    {count:>8.1f}  {100 * count / good[case]['total']:>4.1f} %  {function}")


def _show_native(native):
    _title("Nanoseconds a request, compiled for the host, frame to frame: medians")
    print(f"{'server':>35}{'(fastest run)':>15}{'with clients':>14}")
    for case, value in native.items():
        if not _failed(case, value):
            print(f"  {_case(case)} {value['server']:>9.1f}{value['server_least']:>15.1f}"
                  f"{value['total']:>14.1f}")


def _show_heads(heads, reference):
    _title("By how many kinds of heads there are, in turn, compiled for the host, 64 connections:\n"
           "nanoseconds a request, medians of fastest runs; instructions, reference beside them")
    for case, value in heads.items():
        depth, kinds = case.split("/")
        counted = ""
        if "total" in value:
            counted = f"{value['total']:>9.1f} {_beside(value['total'], reference.get(case))}"
        print(f"  depth {depth:>2}, heads {kinds:<18} {value['server']:>7.1f}"
              f"{value['ratio']:>7.2f} x of one kind's {counted}")


def _show_tap(tap):
    _title("Requests a second: tally and linux over a tap, epoll and nginx on loopback; medians.\n"
           "CPU time, kicks of the network device and VM exits of any kind are those of a request")
    print(f"  {'client/depth':<14}{'server':<10}{'requests/s':>11}{'tally is':>10}{'kvm is':>10}"
          f"{'CPU ns: vCPU':>15}{'other':>9}{'client':>9}{'kicks':>9}{'exits':>9}")
    for case, servers in tap.items():
        for name, value in servers.items():
            ratios = [f"{servers[mine]['rate'] / value['rate']:.2f} x" if mine in servers else ""
                      for mine in ("tally", "tally-kvm")]
            counted = "".join(f"{value[what]:>9.3f}" if what in value else f"{'':>9}"
                              for what in ("kicks", "exits"))
            print(f"  {case:<14}{name:<10}{value['rate']:>11.0f}{ratios[0]:>10}{ratios[1]:>10}"
                  f"{value['vcpu_ns']:>15.0f}"
                  f"{value['server_ns']:>9.0f}{value['client_ns']:>9.0f}{counted}".rstrip())


def _show_durable(durable):
    before, after = durable["fdatasync_ns"]
    _title(f"Events a second that survive a power cut ({durable['accelerator']}, tap; fdatasync of"
           f" 4 KiB: {before / 1e6:.2f} ms before, {after / 1e6:.2f} ms after)\n"
           f"  {'':22} {'memory':>10} {'disk':>10} {'÷ memory':>9} {'tmpfs':>10} {'÷ memory':>9}"
           f" {'redis':>10} {'disk ÷ redis':>12}")
    for case, rates in durable["rates"].items():
        memory, disk, tmpfs, redis = (rates.get(name) for name in
                                      ("memory", "disk", "tmpfs", "redis"))
        print(f"  {_case(case)} {_rate(memory)} {_rate(disk)} {_ratio(disk, memory)}"
              f" {_rate(tmpfs)} {_ratio(tmpfs, memory)} {_rate(redis)} {_ratio(disk, redis):>12}")
    rates = durable["rates"].get("64/16", {})
    if "disk" in rates:
        ceiling = 64 * 16 / ((before + after) / 2e9)
        print(f"  64 x 16 ÷ (in flight ÷ fdatasync): {rates['disk'] / ceiling:.2f}")


def _show_recovery(recovery):
    _title("From exec to listening, microvm, with so many users on the disk")
    for value in recovery.values():
        print(f"  {value['users']:>10,} users: {value['boot_s']:.2f} s, without a disk"
              f" {value['without_s']:.2f} s; recovered in {value['recovered_ms']:,.0f} ms;"
              f" longest turn while they came {value['longest_turn_s'] * 1e3:.1f} ms")


def _rate(rate):
    return f"{'-' if rate is None else f'{rate:,.0f}':>10}"


def _ratio(rate, other):
    return f"{'-' if not rate or not other else f'{rate / other:.2f}':>9}"


def _show_vhost(vhost):
    _title("Requests a second past the host's kernel (vhost-user); nginx on loopback, in turn")
    print(f"  {'':<22}{'median':>11}{'lowest':>11}{'highest':>11}")
    for value in vhost["results"]:
        rates = [run["requests_per_second"] for run in value["runs"]]
        print(f"  {value['kind']:<9}{value['connections']:>7} x {value['depth']:<5}"
              f"{value['median']:>11.0f}{min(rates):>11.0f}{max(rates):>11.0f}")
    for name, ratio in vhost["ratios"].items():
        print(f"  {name:<40}{ratio:>6.2f} x")


def _show_boot(boot):
    _title("Boot")
    for name, seconds in boot["first_200_s"].items():
        print(f"  {name + ':':<9}emulator's start to the first 200 {1000 * seconds:>9.1f} ms")
        seconds = boot["entry_to_listening_s"][name]
        print(f"  {name + ':':<9}first instruction to listening    {1000 * seconds:>9.3f} ms")
    print(f"  image, stripped                            {boot['image_bytes'] / 1024:>8.1f} KiB")
    memory = boot["smallest_memory_mib"]
    print(f"  smallest memory (1,000 conn, 75,000 users) {memory if memory else '-':>3} MiB")


def _show_idle(idle):
    _title("Asleep when idle, in the emulator, over a tap: idle=halt, idle=poll in turn")
    share = " ".join(f"{100 * idle['share'][mode]:>9.2f} %" for mode in idle["share"])
    print(f"  of a processor, without traffic     {share}")
    for seconds, modes in idle["silence"].items():
        for what in ("p50", "p99"):
            times = " ".join(f"{value[what + '_ns'] / 1000:>8.0f} us" for value in modes.values())
            print(f"  one request after {seconds:>5} s, {what}      {times}"
                  f"   (of {modes['halt']['count']})")
    for case, value in idle["rate"].items():
        print(f"  requests a second,{_case(case)} {value['halt']:>9.0f}   {value['poll']:>9.0f}"
              f"   {value['ratio']:.3f} x")


def _show_churn(churn):
    _title("A connection for every request: requests in each second")
    for server, value in churn.items():
        rates = [second["answered_200"] for second in value["seconds"]]
        print(f"  {server}: median {value['median']:.0f} of {len(rates)} seconds; lowest "
              f"{value['lowest'] / value['median']:.2f} and highest "
              f"{value['highest'] / value['median']:.2f} of it; {value['dips']} seconds more than "
              f"10 % below the one before: in {value['dips_waiting']} of them\n  the client was at "
              "work that much less, in the others it got less done: the processor was slower")
        for first in range(0, len(rates), 12):
            print("  " + "".join(f"{rate:>8}" for rate in rates[first:first + 12]))
    print("  " + ", ".join(f"{name.removeprefix('tally_').removesuffix('_total')} {count}"
                           for name, count in churn["tally"]["counts"].items()))


def _show_growth(growth):
    _title("Users growing under load, all events from new ones: instructions (-icount)")
    print(f"  {growth['users']} users, {growth['events']} events; {growth['each']:.0f} an event, "
          f"{growth['average']:.0f} a turn\n  longest turn {growth['longest']:.0f}, with "
          f"{growth['longest_frames']} frames of up to {growth['depth']} events")


def show(results):
    about = results["about"]
    reference = _reference()
    print(f"Tally {about['commit']}\n{about['machine']}; Linux {about['kernel']}; "
          f"{about['emulator']}; load average {about['load']:.1f} at the start")
    if "guest" in results:
        _show_guest(results["guest"], reference.get("guest", {}))
    if "flood" in results:
        _show_flood(results["flood"], reference.get("flood", {}))
    if "callgrind" in results:
        _show_callgrind(results["callgrind"], reference.get("callgrind", {}))
    if "native" in results:
        _show_native(results["native"])
    if "heads" in results:
        _show_heads(results["heads"], reference.get("heads", {}))
    if "tap" in results:
        _show_tap(results["tap"])
    if "vhost" in results:
        _show_vhost(results["vhost"])
    if "boot" in results:
        _show_boot(results["boot"])
    if "durable" in results:
        _show_durable(results["durable"])
    if "recovery" in results:
        _show_recovery(results["recovery"])
    if "idle" in results:
        _show_idle(results["idle"])
    if "churn" in results:
        _show_churn(results["churn"])
    if "growth" in results:
        _show_growth(results["growth"])
    for note in results["notes"]:
        print(f"\nnote: {note}")
